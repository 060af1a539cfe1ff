"""Masking of what comes piece by piece: server-sent events, lines of JSON, plain text.

A text that is told in pieces is looked at as one. Of it, only what may still become part of a value is held back: the
word that has not ended, and groups of digits, names of months and the like before it, which together could be a number
or a date. However the bytes are cut into chunks, the same is let through.
"""

import codecs
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import msgspec

from weir.content import ContentError, encode, parse_answer
from weir.masking.detectors.engine import DetectorError
from weir.masking.detectors.model import TABLE, Span
from weir.masking.masker import mask_json, mask_line, mask_text
from weir.masking.masks import Mask, View
from weir.masking.walk import MaskingError, Report, changes_of, words_of
from weir.normal import is_plain, normal

#: Bytes of one event or line, and characters of one value, that are held at most.
LARGEST_EVENT = 8 << 20
LARGEST_VALUE = 1 << 20
#: Texts that may be told side by side: answers, tool calls.
MOST_TEXTS = 256
#: Characters of an unbroken word beyond which it is no value that is known, but data.
_LONGEST_WORD = 8192
_STEP = 4096
#: Characters of groups that together may be one value.
_LONGEST_GROUPS = 160

#: Groups that go on with more groups: with a digit, a month, a word within a date, letters of an account number.
_JOINED = re.compile(
    r"\S*\d\S*|(?-i:[(+°′″'\"NSEWO,.;/·_~*•∙>-]{1,4}|[A-Z]{1,4},?)|(?:of|de|del|den|do|the|x|ext\.?|extension|poste|durchwahl)"
    r"|(?:\S*[^\w\s])?(?:jan|feb|f[ée]v|mar|m[äa]r|maart|apr|avr|abr|may|mai|maj|mei|mag|jun|jui|giu|jul|lug|aug|ao[ûu]|ago|sep|set|o[ck]t|ott|out|nov|de[csz]|d[ée]c|dic|ene|gen"
    r"|sty|lut|kwi|cze|lip|sie|wrz|pa[źz]|lis|gru|tammi|helmi|maalis|huhti|touko|kes[äa]|hein[äa]|elo|syys|loka|marras|joulu|[\u0900-\u097f])[^\s\d]{0,12}",
    re.IGNORECASE,
)
_DATE_TAIL = re.compile(r"\d[\d./\- 年月日년월일]{4,30}[^\d]{0,18}\Z")
_SHORT_WORDS = re.compile(r"(?:\s{0,4}[^\W\d_]{1,15}(?:['’][^\W\d_]{1,4})?[,.;:?]?(?=\s|\Z))*\s{0,4}")
_SPACE = re.compile(r"\s")
#: An escape of HTML, a URL or Markdown that may not have ended.
_OPEN_ESCAPE = re.compile(r"(?:<[!bw][^<>\n]{0,12}|<|&[#0-9A-Za-z]{0,40}|(?:%[0-9A-Fa-f]{2}){0,3}%[0-9A-Fa-f]?|\\)\Z")
_IBAN_HEAD = re.compile(r"(?<!\w)[A-Za-z]{2}\d\d\s+\Z")
_KEY_BEGIN = "-----BEGIN "
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_KEY = 20_000


class PieceMasker(Protocol):
    """What masks a body piece by piece. Both methods raise `MaskingError`."""

    def feed(self, data: bytes) -> list[bytes]:
        """What may be let through, now that *data* has come."""

    def end(self) -> list[bytes]:
        """What is left."""


class TextStream:
    """One text that comes in pieces."""

    __slots__ = ("_before", "_held", "_key", "_look_at", "_report", "_strategies", "_unbroken", "_view", "_width")

    def __init__(self, view: View, report: Report, key: str, strategies: dict[str, Mask]) -> None:
        self._view = view
        self._report = report
        self._key = key
        self._strategies = strategies
        self._before = ""  # what was let through last, as it came
        self._held = ""
        self._look_at = _LONGEST_WORD
        self._unbroken = False  # what is held is one word
        self._width = view.detectors.width

    def feed(self, text: str, last: bool = False) -> str:
        """What may be let through, now that *text* has come; everything, if it is the *last*."""
        self._held += text
        held = self._held
        if not held:
            return ""
        if self._unbroken and not last and len(held) < self._look_at and not _SPACE.search(text):
            return ""  # one word still
        cut = len(held) if last else self._settled(held)
        self._unbroken = cut == 0 and not _SPACE.search(held)
        if cut == 0 and not last and len(held) < self._look_at:
            return ""
        spans = [] if self._is_plain(held) else self._found(held)
        if not last:
            if cut < len(held) - _LONGEST_WORD and _open_key(held) < 0:
                cut = len(held) - _LONGEST_WORD
            for span in reversed(spans):
                if span.start < cut < span.end:
                    cut = span.start
            if len(held) - cut > LARGEST_VALUE:
                raise MaskingError("a value in a stream is longer than any may be")
        out = self._masked(held, cut, [s for s in spans if s.start < cut])
        self._before = (self._before + held[:cut])[-TABLE:]
        self._held = held[cut:]
        self._look_at = (
            max(_LONGEST_WORD, len(self._held)) + _STEP
        )  # data without spaces is not looked at with every piece
        return out

    def _is_plain(self, held: str) -> bool:
        """Whether there is nothing but short words in *held*, of which no built-in detector makes anything."""
        whole = not self._before or self._before[-1].isspace()
        if not whole or self._width or _SHORT_WORDS.fullmatch(held) is None:
            return False
        return held.isascii() or is_plain(held)

    def _settled(self, held: str) -> int:
        """The place before which nothing can become part of a value any more, however it is typed."""
        if is_plain(held):
            place, length = self._boundary(held), len(held)
            return max(0, min(place, length - self._width)) if self._width else place
        open_ = _OPEN_ESCAPE.search(held, max(0, len(held) - 48))
        plain = normal(held if open_ is None else held[: open_.start()])
        if not plain.text:
            return 0
        place, length = self._boundary(plain.text), len(plain.text)
        return plain.place(max(0, min(place, length - self._width)) if self._width else place)

    def _boundary(self, held: str) -> int:
        place = _open_key(held)
        if place >= 0:
            return place
        place, ended = len(held), held[-1].isspace()
        for word in reversed(held[-_LONGEST_GROUPS:].split()):
            if ended and not _JOINED.fullmatch(word) and not _in_iban(held, place, word):
                break
            place, ended = held.rindex(word, 0, place), True
        place = _start_of_word(held, place)  # the first may have been cut
        if (match := _DATE_TAIL.search(held, max(0, len(held) - 60))) is not None:
            place = min(place, _start_of_word(held, match.start()))
        return place

    def _found(self, held: str) -> list[Span]:
        """What is found in *held*, with what was before it in view; places are those in *held*."""
        try:
            before = len(self._before)
            spans = self._view.detectors.find(self._before + held, self._key)
        except DetectorError as error:
            raise MaskingError(str(error)) from None
        return [Span(max(0, s.start - before), s.end - before, s.kind, s.rank) for s in spans if s.end > before]

    def _masked(self, held: str, cut: int, spans: list[Span]) -> str:
        if not spans:
            return held[:cut]
        parts, position = [], 0
        for start, end, new in changes_of(self._view, held, spans, self._strategies, self._report):
            parts += [held[position:start], new]
            position = end
        return "".join([*parts, held[position:cut]])


def _open_key(held: str) -> int:
    """Where a private key begins that has not ended; -1 where there is none. A beginning may be cut itself."""
    place = held.rfind(_KEY_BEGIN)
    if place < 0 or len(held) - place > _LONGEST_KEY:
        return -1
    head = held[place + len(_KEY_BEGIN) :][:60]
    is_key = "PRIVATE KEY" in head or ("-" not in head.removesuffix("-") and "\n" not in head)
    return place if is_key and _KEY_END.search(held, place) is None else -1


def _in_iban(held: str, place: int, word: str) -> bool:
    """Whether *word*, the last before *place*, is the bank's code in an account number."""
    return len(word) == 4 and word.isalnum() and _IBAN_HEAD.search(held, 0, held.rindex(word, 0, place)) is not None


def _start_of_word(text: str, place: int) -> int:
    while place > 0 and not text[place - 1].isspace():
        place -= 1
    return place


# Which texts of a document are told in pieces.

_PIECES = frozenset((
    "text", "content", "token", "response", "completion", "output_text", "partial_json", "arguments", "thinking",
    "reasoning", "reasoning_content", "refusal", "transcript", "output", "answer",
))  # fmt: skip
_REASONS = ("finish_reason", "stop_reason", "finishReason")
_IN_DELTAS = frozenset(("delta", "value", "input"))
_COMPLETE = frozenset(
    (
        "documents",
        "results",
        "citations",
        "sources",
        "annotations",
        "hits",
        "item",
        "part",
        "usage",
        "meta",
        "metadata",
        "error",
    )
)
#: Documents that differ only in a piece of text, which services send one after another.
_MOST_FRAMES = 4
_IDENTITY = (
    "index", "item_id", "output_index", "content_index", "summary_index", "messageId", "message_id", "toolCallId",
    "tool_call_id",
)  # fmt: skip
_LAST = re.compile(r"(?:^|[._-])(?:stop|end|done|completed|finished|incomplete|failed)$")
#: Kinds of documents that are data in pieces, not text, and members in which a document is whole.
_DATA = re.compile(r"audio|image|citation")
_ENVELOPES = frozenset(("jsonrpc", "result"))

_Channel = tuple[Any, ...]


class _Told:
    """One piece of a text in one document."""

    __slots__ = ("channel", "container", "ends", "key", "name", "text")

    def __init__(self, channel: _Channel, container: Any, key: Any, name: str, text: str, ends: bool) -> None:
        self.channel = channel
        self.container = container
        self.key = key
        self.name = name
        self.text = text
        self.ends = ends


def _told(document: Any, lines: bool) -> tuple[list[_Told], Any]:
    """The pieces in *document*; and what ends with it: True for all, or the index of a choice, or None."""
    if type(document) is list:
        return [piece for item in document if type(item) is dict for piece in _told(item, lines)[0]], None
    if type(document) is not dict:
        return [], None
    kind = document.get("type") or document.get("event_type") or ""
    kind = kind.lower() if isinstance(kind, str) else ""
    last = _LAST.search(kind) is not None
    whole = last or not _ENVELOPES.isdisjoint(document) or _DATA.search(kind) is not None
    whole = whole or (lines and not isinstance(document.get("done"), bool))
    identity = _identity(document, kind)
    pieces: list[_Told] = []
    if (not whole or "delta" in document or "choices" in document) and not _DATA.search(kind):
        _collect(document, (kind, identity), False, whole, pieces, False)
    if document.get("done") is True or (last and not any(part is not None for part in identity)):
        return pieces, True
    return pieces, identity if last else None


def _identity(document: dict[str, Any], kind: str) -> tuple[Any, ...]:
    """Which of several texts that are told side by side a document is about."""
    names = (*_IDENTITY, "id") if kind.endswith("delta") else _IDENTITY
    parts = [document.get(name) for name in names]
    return tuple(None if isinstance(part, dict | list) else part for part in parts[: len(_IDENTITY)]) + tuple(
        parts[len(_IDENTITY) :]
    )


def _is_reason(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", "null")


def _collect(node: Any, channel: _Channel, delta: bool, only_delta: bool, pieces: list[_Told], ends: bool) -> None:
    if type(node) is dict:
        ends = ends or any(_is_reason(node.get(name)) for name in _REASONS)
        for name, value in node.items():
            if name in _COMPLETE:
                continue
            below = delta or name in ("delta", "deltas")
            if type(value) is str:
                if name in _PIECES or (below and name in _IN_DELTAS):
                    if only_delta and not below:
                        continue
                    pieces.append(_Told((*channel, name), node, name, name, value, ends))
            elif type(value) is dict or type(value) is list:
                _collect(value, (*channel, name), below, only_delta, pieces, ends)
    else:
        for i, item in enumerate(node):
            if type(item) is dict:
                index = item.get("index")
                place = index if type(index) is int else i
                _collect(item, (*channel, place), delta, only_delta, pieces, ends)


def _finished(document: Any) -> list[Any]:
    """The indexes of choices that end in *document*, whether or not they have a piece in it."""
    choices = document.get("choices") if type(document) is dict else None
    if type(choices) is not list:
        return []
    return [
        choice.get("index", i)
        for i, choice in enumerate(choices)
        if type(choice) is dict and _is_reason(choice.get("finish_reason"))
    ]


class _Frame(NamedTuple):
    """A document without values, around the one piece of a text in it."""

    before: bytes
    after: bytes
    channel: _Channel


def _is_spelling(body: bytes, document: Any) -> bool:
    """Whether *body* spells *document*: the text that was taken out of it was the piece, and nothing like it."""
    try:
        return bool(parse_answer(body) == document)
    except ContentError:
        return False


def _string(literal: bytes) -> str | None:
    """The text that one JSON string is; None where *literal* is anything else or more."""
    try:
        return msgspec.json.decode(literal, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Pieces:
    """The texts of one stream, and how documents that tell pieces of them are written."""

    def __init__(self, view: View, report: Report, lines: bool) -> None:
        self._view = view
        self._report = report
        self._lines = lines
        self._streams: dict[_Channel, TextStream] = {}
        self._last: dict[_Channel, bytes] = {}  # a document with a piece of it, to write more with
        self._kept = 0  # bytes of those
        self._frames: list[_Frame] = []  # the last ones, the latest first

    def masked(self, body: bytes) -> tuple[list[bytes], bytes]:
        """Documents to be written before this one, and this one."""
        framed = self.framed(body)
        if framed is not None:
            return [], framed
        document = parse_answer(body)
        told, ends = _told(document, self._lines) if self._view.recognises else ([], None)
        instead: dict[tuple[int, Any], str] = {}
        named = self._named(document)
        over = _finished(document) if self._streams or told else []
        here = set()
        for piece in told:
            strategies = named.get((id(piece.container), piece.key), self._view.strategy_of)
            if strategies is None or not strategies:
                continue
            here.add(piece.channel)
            last = piece.ends or ends is True or (ends is not None and piece.channel[1][: len(ends)] == ends)
            stream = self._streams.get(piece.channel)
            if stream is None:
                if not piece.text:
                    continue
                if len(self._streams) >= MOST_TEXTS:
                    raise MaskingError("more texts are told at once than may be")
                stream = self._streams[piece.channel] = TextStream(
                    self._view, self._report, words_of(piece.name), strategies
                )
            shown = stream.feed(piece.text, last)
            instead[id(piece.container), piece.key] = shown
            if last:
                del self._streams[piece.channel]
                self._keep(piece.channel, b"")
            else:
                self._keep(piece.channel, body)
        before = []
        if over or ends is not None:
            ended = [
                c
                for c in self._streams
                if ends is True or _choice(c) in over or (ends is not None and c[1][: len(ends)] == ends)
            ]
            before = self._flush([c for c in ended if c not in here])
        if len(instead) == 1 and not self._view.named:
            framed = self._as_frame(body, document, told, instead)
            if framed is not None:
                return before, framed
        mask = mask_line if self._lines else mask_json
        return before, mask(self._view, body, document, self._report, instead)

    def _keep(self, channel: _Channel, body: bytes) -> None:
        """*body* is the last document with a piece of the text *channel*; empty where that is over."""
        self._kept += len(body) - len(self._last.pop(channel, b""))
        if self._kept > LARGEST_EVENT:
            raise MaskingError("more is told in pieces at once than may be")
        if body:
            self._last[channel] = body

    def framed(self, body: bytes) -> bytes | None:
        """A document like one before, but for its piece of text; None where it is none."""
        for frame in self._frames:
            if body.startswith(frame.before) and body.endswith(frame.after) and frame.channel in self._streams:
                text = _string(body[len(frame.before) : len(body) - len(frame.after)])
                if text is not None:
                    shown = self._streams[frame.channel].feed(text)
                    self._keep(frame.channel, body)
                    return body if shown == text else b"".join((frame.before, encode(shown), frame.after))
        return None

    def _as_frame(
        self, body: bytes, document: Any, told: list[_Told], instead: dict[tuple[int, Any], str]
    ) -> bytes | None:
        """*body* with its one piece replaced, where all around it is clean; such a frame is remembered."""
        piece = next(p for p in told if (id(p.container), p.key) in instead)
        spelt = encode(piece.text)
        if not piece.text or body.count(spelt) != 1:
            return None
        before, _, after = body.partition(spelt)
        empty = b"".join((before, b'""', after))
        piece.container[piece.key] = ""
        if not _is_spelling(empty, document) or mask_json(self._view, empty, document, Report()) is not empty:
            piece.container[piece.key] = piece.text
            return None
        if piece.channel in self._streams:
            self._frames = [_Frame(before, after, piece.channel), *self._frames[: _MOST_FRAMES - 1]]
        return b"".join((before, encode(instead[id(piece.container), piece.key]), after))

    def _named(self, document: Any) -> dict[tuple[int, Any], dict[str, Mask] | None]:
        """For places that masks name: what is looked for there; None where all of it is replaced."""
        if not self._view.named:
            return {}
        found: dict[tuple[int, Any], dict[str, Mask] | None] = {}
        for number, container, key in self._view.slots(document):
            mask, _ = self._view.named[number]
            known = found.get((id(container), key), self._view.strategy_of)
            found[id(container), key] = None if known is None or not mask.kinds else known | self._view.within[number]
        return found

    def end(self) -> list[bytes]:
        """Documents with all that is held."""
        return self._flush(list(self._streams))

    def _flush(self, channels: list[_Channel]) -> list[bytes]:
        written = []
        for channel in channels:
            left, last = self._streams.pop(channel).feed("", last=True), self._last[channel]
            self._keep(channel, b"")
            if not left:
                continue
            document = parse_answer(last)
            told, _ = _told(document, self._lines)
            for piece in told:
                piece.container[piece.key] = left if piece.channel == channel else ""
            _strip(document)
            body = encode(document)
            mask = mask_line if self._lines else mask_json
            kept = {(id(p.container), p.key): p.container[p.key] for p in told}
            written.append(mask(self._view, body, document, Report(), kept))
        return written


#: What is said once of a text, and not with every piece of it.
_ONCE = ("name", "role", "usage", "finish_reason", "stop_reason", "finishReason", "usageMetadata", "logprobs")


def _strip(node: Any, depth: int = 0) -> None:
    """Take from a document that is told again what clients would add up."""
    if type(node) is dict:
        for name in _ONCE:
            node.pop(name, None)
        if depth and "function" in node:  # a call of a tool
            node.pop("id", None)
            node.pop("type", None)
        for value in node.values():
            _strip(value, depth + 1)
    elif type(node) is list:
        for item in node:
            _strip(item, depth + 1)


def _choice(channel: _Channel) -> Any:
    """The index of the choice whose text *channel* is."""
    for name, place in pairwise(channel):
        if name == "choices":
            return place
    return None


_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class EventMasker:
    """Server-sent events (WHATWG HTML, 9.2). Events in which nothing changes keep their bytes."""

    def __init__(self, view: View, report: Report) -> None:
        self._view = view
        self._report = report
        self._pieces = Pieces(view, report, lines=False)
        self._plain: dict[str, TextStream] = {}
        self._rest = b""
        self._parts: list[bytes] = []  # of a line that has not ended, after the rest
        self._size = 0  # of the event that has not ended
        self._begun = False
        self._lines: list[tuple[bytes, bytes]] = []  # of the event that has not ended: each with its end
        self._known: dict[bytes, bytes] = {}  # lines that come again and again
        self._named_events = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that have ended, masked."""
        if (
            not self._rest
            and not self._parts
            and not self._lines
            and data[:6] == b"data: "
            and data.count(b"\n") == 2
            and data[-2:] == b"\n\n"
        ):
            framed = self._pieces.framed(data[6:-2])  # one event, like the one before: most often it is
            if framed is not None:
                return [b"data: %s\n\n" % framed]
        if not self._begun:
            self._begun = True
            data = data.removeprefix(codecs.BOM_UTF8)
        self._size += len(data)
        if self._size > LARGEST_EVENT:
            raise MaskingError("an event is longer than any may be")
        if b"\n" not in data and b"\r" not in data and not self._rest.endswith(b"\r"):
            self._parts.append(data)  # joined once, when the line ends
            return []
        whole = b"".join((self._rest, *self._parts, data))
        self._parts.clear()
        out: list[bytes] = []
        position = 0
        for match in _LINE_END.finditer(whole):
            line, end = whole[position : match.start()], match[0]
            position = match.end()
            self._lines.append((line, end))
            if not line:
                out += self._event()
                self._size = len(whole) - position
        self._rest = whole[position:]
        return out

    def end(self) -> list[bytes]:
        """What is left: an event without its end, and the texts that were held."""
        rest = b"".join((self._rest, *self._parts))
        self._parts.clear()
        self._rest = b""
        if rest:
            line = rest.rstrip(b"\r")
            self._lines.append((line, rest[len(line) :]))
        out = self._event() if self._lines else []
        return [*out, *self._flush()]

    def _flush(self) -> list[bytes]:
        out = [self._told_again(body) for body in self._pieces.end()]
        for name, stream in list(self._plain.items()):
            left = stream.feed("", last=True)
            if left:
                out.append(self._plain_event(name, left))
        self._plain.clear()
        return out

    def _told_again(self, body: bytes) -> bytes:
        """An event of our own with what was held of a text; named by its type where the service's are."""
        kind = parse_answer(body).get("type") if self._named_events else None
        head = f"event: {kind}\n" if isinstance(kind, str) else ""
        return b"%sdata: %s\n\n" % (head.encode(), body)

    def _event(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        data = [_value(line) for line, _ in lines if _is_data(line)]
        if not data:
            return [self._written(lines, None)]
        body = b"\n".join(data)
        if body.strip() == b"[DONE]":
            return [*self._flush(), self._written(lines, None)]
        document_like = body.lstrip()[:1] in (b"{", b"[", b'"')
        if document_like:
            try:
                before, masked = self._pieces.masked(body)
            except ContentError as error:
                raise MaskingError(f"an event is not unambiguous JSON: {error}") from None
            self._named_events = any(line.startswith(b"event:") for line, _ in lines)
            return [
                *(self._told_again(b) for b in before),
                self._written(lines, None if masked is body or masked == body else masked),
            ]
        if self._view.named:
            raise MaskingError("an event is not JSON, in which fields have names")
        return self._text(lines, body)

    def _text(self, lines: list[tuple[bytes, bytes]], body: bytes) -> list[bytes]:
        """An event whose data is text: a piece of what others of its name tell."""
        if not self._view.recognises:
            return [self._written(lines, None)]
        name = next((_value(line).decode("utf-8", "replace") for line, _ in lines if line.startswith(b"event:")), "")
        if name:  # a message of its own, and no piece of what others tell
            return [*self._flush(), self._written(lines, mask_text(self._view, _decoded(body), self._report).encode())]
        stream = self._plain.get(name)
        if stream is None:
            stream = self._plain[name] = TextStream(self._view, self._report, "", self._view.strategy_of)
        text = _decoded(body)
        shown = stream.feed(text)
        if shown == text:
            return [self._written(lines, None)]
        return [self._written(lines, shown.encode())]

    def _plain_event(self, name: str, text: str) -> bytes:
        head = f"event: {name}\n" if name else ""
        return (head + "".join(f"data: {line}\n" for line in text.split("\n")) + "\n").encode()

    def _written(self, lines: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
        """*lines* of an event with *body* as its data, or its own; other fields masked as texts."""
        parts: list[bytes] = []
        placed = False
        for line, end in lines:
            if not _is_data(line):
                parts += [self._field(line), end]
            elif body is None:
                parts += [line, end]
            elif not placed:
                placed = True
                for piece in body.split(b"\n"):
                    parts += [b"data: ", piece, end]
        return b"".join(parts)

    def _field(self, line: bytes) -> bytes:
        if not line or not self._view.recognises:
            return line
        known = self._known.get(line)
        if known is None:
            text = _decoded(line)
            masked = mask_text(self._view, text, self._report)
            known = line if masked is text else masked.encode()
            if len(self._known) < 64:
                self._known[line] = known
        return known


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line == b"data"


def _value(line: bytes) -> bytes:
    value = line.partition(b":")[2]
    return value[1:] if value.startswith(b" ") else value


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MaskingError("it is not UTF-8") from None


class LineMasker:
    """Newline-delimited JSON: each line is let through when it has ended."""

    def __init__(self, view: View, report: Report) -> None:
        self._pieces = Pieces(view, report, lines=True)
        self._parts: list[bytes] = []  # of the line that has not ended
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that have ended, masked."""
        self._size += len(data)
        if self._size > LARGEST_EVENT:
            raise MaskingError("a line is longer than any may be")
        self._parts.append(data)
        if b"\n" not in data:  # joined once, when the line ends
            return []
        *lines, rest = b"".join(self._parts).split(b"\n")
        self._parts, self._size = [rest], len(rest)
        return [out + b"\n" for line in lines for out in self._line(line)]

    def end(self) -> list[bytes]:
        """A last line without its end, and the texts that were held."""
        rest = b"".join(self._parts)
        self._parts = []
        out = list(self._line(rest)) if rest else []
        return [b"\n".join([*out, *self._pieces.end()])]

    def _line(self, line: bytes) -> Iterator[bytes]:
        text = line[:-1] if line.endswith(b"\r") else line
        if not text.strip():
            yield line
            return
        try:
            before, masked = self._pieces.masked(text)
        except ContentError as error:
            raise MaskingError(f"a line is not unambiguous JSON: {error}") from None
        yield from before
        yield masked + line[len(text) :]


class PlainMasker:
    """Text of which values are recognised; paths have no meaning in it."""

    def __init__(self, view: View, report: Report, charset: str = "utf-8") -> None:
        self._decoder = codecs.getincrementaldecoder(charset)()
        self._charset = charset
        self._stream = TextStream(view, report, "", view.strategy_of)

    def feed(self, data: bytes) -> list[bytes]:
        """What has ended, masked."""
        return self._let(data, False)

    def end(self) -> list[bytes]:
        """What was held."""
        return self._let(b"", True)

    def _let(self, data: bytes, last: bool) -> list[bytes]:
        try:
            text = self._decoder.decode(data, last)
        except UnicodeDecodeError:
            raise MaskingError(f"it is not {self._charset}") from None
        shown = self._stream.feed(text, last)
        return [shown.encode(self._charset, "xmlcharrefreplace")] if shown else []


class Unmasked:
    """Nothing is masked: everything is let through as it comes."""

    def feed(self, data: bytes) -> list[bytes]:
        """*data* itself."""
        return [data]

    def end(self) -> list[bytes]:
        """Nothing."""
        return []
