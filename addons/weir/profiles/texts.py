"""Collect the texts of a request or response that a model or a person can read: every string and object key. Pure.

Only a `Shape` makes exceptions. If a service reads a text differently than it is written (escapes, data URIs, joined
parts), the text is added in that form too. Texts that cannot be read (prompts given as tokens) make their bucket
`Unreadable`; then the request is refused if a rule needs the bucket.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_plus

from weir.base.content import ContentError, parse_parameters
from weir.profiles.encoded import Located, TooDeep, is_data_uri, located, text_of_base64, text_of_data, unescaped
from weir.profiles.shapes import IN_PATH, Grammar, Shape

#: The buckets of a request and of a response.
QUERY, DOCUMENTS, RESULTS, OTHER = "query", "documents", "results", "other"
#: Maximum depth of lists with joined items. Each level needs as much memory as the texts within it.
MOST_JOINED = 5
#: Maximum characters of all joined texts.
_MOST_JOINED_CHARACTERS = 64_000_000
#: Maximum product of texts and members in one list that has both, because each text is joined with each member.
_MOST_JOINED_MEMBERS = 100_000
_NUMBERS = frozenset((int, float, bool))
_ONLY_TEXTS, _ONLY_OBJECTS = {str}, {dict}
_SCALARS = frozenset((str, int, float, bool, type(None)))
#: Possible first characters of a data URI: services accept white space before it.
_STARTS = ("d", "D", " ", "\t", "\n", "\r", "\f", "\v")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Texts that exist but cannot be read; ``reason`` is safe to show."""

    reason: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one message by bucket, and the identifiers in the query, documents or results."""

    texts: Mapping[str, "list[str] | Unreadable"]
    names: Mapping[str, list[str]]


class _Bucket:
    __slots__ = ("joined", "keys", "names", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.keys: set[str] = set()
        self.names: list[str] = []  # identifiers, which are not text
        self.joined: list[str] = []


class TextWalk:
    """Collects the texts of one message.

    *joins*: a model may read adjacent parts of a list as one text. *tokens*: a list of whole numbers may be a prompt.
    *places*: texts outside the body know their places too.
    """

    def __init__(self, buckets: Iterable[str], *, joins: bool, tokens: bool, places: bool = False) -> None:
        self._buckets = {name: _Bucket() for name in buckets}
        self._unreadable: dict[str, str] = {}
        self._names = {id(bucket): name for name, bucket in self._buckets.items()}
        self._documents = self._buckets.get(DOCUMENTS)
        self._joins = joins
        self._reads_tokens = tokens
        self._places = places
        self._depth = 0  # of nested lists with joined items
        self._characters = 0

    def body(self, body: Any, shape: Shape, *, apart: bool) -> None:
        """Add the texts of *body*. With *apart*, the items of a list are not joined."""
        into = self._buckets[shape.bucket or OTHER]
        kind = type(body)
        if kind is dict:
            self._object(body, shape, into)
        elif kind is list:
            self._list(body, shape, into, apart=apart)
        elif isinstance(body, str):
            self._string(body, shape, into)

    def parameters(self, query: str, known: Mapping[str, Grammar | None], asked: str | None) -> None:
        """Add the values in the URL's *query*, and names that are not *known*. *asked* names the query text."""
        try:
            found = parse_parameters(query)
        except ContentError:  # the query is ambiguous, so add all of it
            self.add(OTHER, unquote_plus(query), "the query of the URL")
            self.add(OTHER, unquote(query), "the query of the URL")
            return
        for name, values in found.items():
            if name != asked and name not in known:
                self.add(OTHER, name, f"the name of the query parameter {name}")
            grammar = known.get(name)
            for value in values:
                if grammar is None or not grammar(value):
                    self.add(QUERY if name == asked else OTHER, value, f"the query parameter {name}")

    def variables(self, variables: Mapping[str, str]) -> None:
        """Add the values of a path's *variables* that are not identifiers."""
        for name, value in variables.items():
            if not IN_PATH(value):
                self.add(OTHER, value, f"{{{name}}} in the path")

    def add(self, bucket: str, text: str, place: str) -> None:
        """Add *text*, found at *place*."""
        self._buckets[bucket].texts.append(Located(text, place) if self._places else text)

    def encoded(self, values: Iterable[Any]) -> None:
        """Add the texts that *values* contain in Base64."""
        for value in values:
            if isinstance(value, str) and (text := text_of_base64(value)) is not None:
                self._buckets[OTHER].texts.append(text)

    def unreadable(self, bucket: str, reason: str) -> None:
        """Note that *bucket* has a text that cannot be read."""
        self._unreadable.setdefault(bucket, reason)

    def close(self) -> Texts:
        """Return the result."""
        texts: dict[str, list[str] | Unreadable] = {}
        for name, bucket in self._buckets.items():
            # The order must be the same in every process, because approvals compare digests of it.
            found = [*bucket.texts, *sorted(bucket.keys), *bucket.joined]
            try:
                _add_encoded(found)
            except TooDeep as error:
                self.unreadable(name, str(error))
            reason = self._unreadable.get(name)
            texts[name] = found if reason is None else Unreadable(reason)
        return Texts(texts, {name: bucket.names for name, bucket in self._buckets.items()})

    def _object(self, node: dict[str, Any], shape: Shape, into: _Bucket) -> None:
        if shape.flat:
            keys = node.keys()
            if not keys <= shape.known:
                into.keys.update(keys - shape.known)
            texts, members = into.texts, shape.members
            for key, value in node.items():
                kind = type(value)
                if kind is str:
                    texts.append(value)
                elif kind is dict:
                    self._object(value, members.get(key, _TEXT), into)
                elif kind is list:
                    self._list(value, members.get(key, _TEXT), into, apart=False, within=True)
                elif isinstance(value, str):
                    texts.append(value)
            return
        for key, value in node.items():
            child = shape.members.get(key)
            if child is None:
                child = shape.others or _TEXT
                if shape.key is None or not shape.key(key):
                    into.keys.add(key)
                else:
                    into.names.append(key)
            target = into if child.bucket is None else self._buckets[child.bucket]
            kind = type(value)
            if kind is dict:
                self._object(value, child, target)
            elif kind is list:
                self._list(value, child, target, apart=key in shape.apart, within=child.bucket is None)
            elif isinstance(value, str):
                self._string(value, child, target)

    def _list(self, items: list[Any], shape: Shape, into: _Bucket, *, apart: bool, within: bool = False) -> None:
        """Add the texts of *items*. *within*: the list is in an object; numbers in a document object are data."""
        if not items:
            return
        if type(items[0]) in _NUMBERS:
            self._tokens(items, shape, into, within=within)
            if _NUMBERS.issuperset(map(type, items)):
                return
        joins = self._joins and not apart and len(items) > 1
        if joins:
            self._join(items, shape, into)
            self._depth += 1
        if shape.named is None or not self._plain(items, shape, into):
            for item in items:
                kind = type(item)
                if kind is dict:
                    self._object(item, shape, into)
                elif kind is list:
                    self._list(item, shape, into, apart=False, within=within)
                elif isinstance(item, str):
                    self._string(item, shape, into)
        if joins:
            self._depth -= 1

    @staticmethod
    def _plain(items: list[Any], shape: Shape, into: _Bucket) -> bool:
        """Add *items* at once if they are only texts, or objects of texts and numbers, as most documents are."""
        kinds = set(map(type, items))
        if kinds == _ONLY_TEXTS:
            into.texts += items
            return True
        if kinds != _ONLY_OBJECTS:
            return False
        values: list[Any] = []
        for item in items:
            values += item.values()
        if not _SCALARS.issuperset(map(type, values)):
            return False
        keys: set[str] = set()
        keys.update(*items)
        if not keys.isdisjoint(shape.named or ()):
            return False
        into.keys |= keys - shape.known
        into.texts += [value for value in values if type(value) is str]
        return True

    def _join(self, items: list[Any], shape: Shape, into: _Bucket) -> None:
        """Add the joined texts of *items*: some templates join parts without a separator, others with a newline.

        The texts of the same member of all items are joined (an item that is a text joins every member), and all texts
        in their order.
        """
        if self._depth == MOST_JOINED:
            self.unreadable(self._names[id(into)], "its lists of parts are nested too deeply to be read")
            return
        every: list[str] = []
        rows: dict[tuple[str, ...], list[str]] = {}
        bare: list[str] = []
        for item in items:
            if not isinstance(item, str):
                for way, text in _leaves(item, shape, ()):
                    row = rows.get(way)
                    if row is None:
                        row = rows[way] = list(bare)
                    row.append(text)
                    every.append(text)
            else:
                bare.append(item)
                every.append(item)
                for row in rows.values():
                    row.append(item)
            if len(rows) * len(bare) > _MOST_JOINED_MEMBERS:
                self.unreadable(self._names[id(into)], "a list in it mixes texts and too many members to be read")
                return
        for row in ([], *rows.values()) if len(rows) == 1 else (every, *rows.values()):
            if len(row) > 1:
                self._characters += 2 * sum(map(len, row))
                if self._characters > _MOST_JOINED_CHARACTERS:
                    self.unreadable(self._names[id(into)], "its lists of parts are too long to be read as one text")
                    return
                into.joined += (located(end.join(row), row[0], "with the parts after it") for end in ("", "\n"))

    def _string(self, text: str, shape: Shape, into: _Bucket) -> None:
        if shape.leaf is not None and shape.leaf(text):
            into.names.append(text)
        elif shape.data:
            if (read := text_of_data(text)) is not None:
                into.texts.append(read)
                if read is not text and is_data_uri(text):
                    into.texts.append(text)
        else:
            into.texts.append(text)

    def _tokens(self, items: list[Any], shape: Shape, into: _Bucket, *, within: bool) -> None:
        """Note an unreadable prompt if a model may read *items* as tokens: the numbers are whole."""
        if not self._reads_tokens or shape.numbers or (within and into is self._documents):
            return
        if all(type(item) is not float or item.is_integer() for item in items):
            name = self._names[id(into)]
            what = "the documents are" if name == DOCUMENTS else "a text in it is"
            self.unreadable(name, f"{what} given as tokens, whose text cannot be read")


def _leaves(value: Any, shape: Shape, way: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the texts within *value* that are not identifiers or data, each with its member names."""
    if type(value) is dict:
        for key, inner in value.items():
            yield from _leaves(inner, shape.members.get(key) or shape.others or _TEXT, (*way, str(key)))
    elif type(value) is list:
        for inner in value:
            yield from _leaves(inner, shape, way)
    elif isinstance(value, str) and not shape.data and not (shape.leaf is not None and shape.leaf(value)):
        yield way, value


_TEXT = Shape()


def _add_encoded(texts: list[str]) -> None:
    """Add the decoded forms of *texts* to the list."""
    uris = [text for text in texts if text.startswith(_STARTS) and is_data_uri(text)]
    texts += [read for text in uris if (read := text_of_data(text)) is not None and read is not text]
    if "\\" in "".join(texts):
        for text in [text for text in texts if "\\" in text]:
            texts += unescaped(text)


def locate(value: Any, place: str = "$") -> Any:
    """Return a copy of the parsed JSON *value* in which every text and key knows its JSONPath."""
    if type(value) is str:
        return Located(value, place)
    if type(value) is list:
        return [locate(item, f"{place}[{i}]") for i, item in enumerate(value)]
    if type(value) is dict:
        return {
            Located(name, f"the name of {(there := _below(place, name))}"): locate(item, there)
            for name, item in value.items()
        }
    return value


def _below(place: str, name: str) -> str:
    plain = name.isidentifier() and name.isascii()
    return f"{place}.{name}" if plain else f"{place}['{name.replace(chr(39), chr(92) + chr(39))}']"
