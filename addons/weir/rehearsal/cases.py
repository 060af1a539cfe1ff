"""Policy tests: cases in ``policies/tests/*.yaml``, each a request and its expected outcome.

A case is judged by the same code as a real request. Mistakes in a file are reported with their place, like mistakes in
policies.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field, RootModel, model_validator
from ruamel.yaml import YAML

from weir.base.content import encode_lines, is_json, is_ndjson
from weir.base.jsonpath import PathError, compile_path
from weir.base.mistakes import ConfigError, Mistake, SettingError
from weir.config.load import Document, load_document
from weir.config.model import Settings, Strings
from weir.policy.rules import judge
from weir.policyset.model import PolicySet
from weir.rehearsal.rehearse import Given, Outcome, documents_path, find_connection, put, rehearse

FOLDER = "tests"


def _as_text(moment: Any) -> Any:
    """Return *moment* as text: YAML reads an unquoted time as a date."""
    return moment.isoformat() if isinstance(moment, datetime) else moment


class DocumentsSettings(Settings):
    """The number of documents, and the length of each in characters."""

    count: Annotated[int, Field(ge=0, le=1_000_000)]
    length: Annotated[int, Field(ge=0, le=10_000_000)]


class RequestSettings(Settings):
    """The request: ``body`` is JSON, ``lines`` is NDJSON (sent ``repeat`` times), ``text`` is sent unchanged.

    ``documents`` puts this number of documents into the body; ``fill`` puts a text of the given length at a JSONPath.
    """

    method: str = "POST"
    path: Annotated[str, Field(pattern="^/")]
    query: str = ""
    body: Any = None
    lines: list[Any] | None = None
    text: str | None = None
    content_type: str | None = None
    repeat: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    documents: DocumentsSettings | Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    fill: dict[str, Annotated[int, Field(ge=0, le=10_000_000)]] = {}


class ResponseSettings(Settings):
    """The service's answer."""

    status: int = 200
    body: Any = None
    text: str | None = None  # sent unchanged, for answers that are not JSON


class ExpectSettings(Settings):
    """The expected outcome. Only the fields that are set are compared."""

    effect: Literal["allow", "deny", "limit", "require_approval", "refuse"] | None = None
    rule: str | None = None
    status: int | None = None
    shadow: list[str] | None = None
    problem: str | None = None

    @model_validator(mode="after")
    def _expects_something(self) -> "ExpectSettings":
        if self.model_fields_set:
            return self
        raise ValueError("name at least one expectation: effect, rule, status, shadow or problem")


class CaseSettings(Settings):
    """One case. Without ``groups``, the caller is in the groups that the connection's ``access`` names."""

    name: Annotated[str, Field(min_length=1)]
    connection: str
    user: str = "someone"
    issuer: str = ""
    groups: Strings | None = None
    client_ip: str = "127.0.0.1"
    at: Annotated[str | None, BeforeValidator(_as_text, json_schema_input_type=str | None)] = None
    request: RequestSettings
    response: ResponseSettings | None = None
    expect: ExpectSettings


class CaseFile(RootModel[list[CaseSettings]]):
    """All cases of one file."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case, with its file and line."""

    settings: CaseSettings
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a case: the differences from its expectations (empty if it passed), and the outcome."""

    case: Case
    differences: tuple[str, ...]
    outcome: Outcome | None = None
    covered: frozenset[tuple[str, str]] = field(default=frozenset())  # (connection, rule) pairs that matched

    @property
    def passed(self) -> bool:
        """True if there are no differences."""
        return not self.differences


def load_cases(folder: Path) -> list[Case]:
    """Load the cases of the policies *folder*. Raises `ConfigError` with all mistakes."""
    mistakes: list[Mistake] = []
    cases: list[Case] = []
    for file in sorted((folder / FOLDER).glob("*.yaml")):
        document: Document[CaseFile] | None = load_document(file, CaseFile, mistakes)
        if document is not None:
            cases += [Case(c, document.file, document.line(i)) for i, c in enumerate(document.settings.root)]
    if mistakes:
        raise ConfigError(mistakes)
    return cases


def run_cases(policies: PolicySet, cases: Sequence[Case]) -> Iterator[Result]:
    """Run *cases* against *policies*, one after another."""
    for case in cases:
        try:
            outcome = rehearse(policies, given(policies, case.settings))
        except SettingError as error:
            yield Result(case, (error.message,))
            continue
        yield Result(case, tuple(_differences(case.settings.expect, outcome)), outcome, _covered(outcome))


def given(policies: PolicySet, case: CaseSettings) -> Given:
    """Return the request that *case* describes. Raises `SettingError`."""
    request, response = case.request, case.response
    connection = find_connection(policies, case.connection)
    body, content_type = request.body, request.content_type
    if request.documents is not None:
        if isinstance(request.documents, int):
            documents = [f"document {i}" for i in range(request.documents)]
        else:
            documents = [_words(request.documents.length)] * request.documents.count
        body = put(body, documents_path(connection, request.method, request.path), documents)
    for text, length in request.fill.items():
        try:
            names = compile_path(text).names
        except PathError as error:
            raise SettingError(str(error)) from None
        if not names:
            raise SettingError(f"{text!r}: only a path of names can be filled, like $.query")
        body = put(body, names, _words(length))
    data = b"" if body is None else msgspec.json.encode(body)
    if request.lines is not None:
        data = encode_lines(request.lines) * request.repeat
        content_type = content_type or "application/x-ndjson"
    if request.text is not None:
        data = _bytes(request.text)
    at = None
    if case.at is not None:
        try:
            moment = datetime.fromisoformat(case.at)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=policies.timezone)).timestamp()
        except ValueError:
            raise SettingError(f"{case.at!r} is not a time; write e.g. 2026-01-05T09:00:00Z", "at") from None
    path, _, query = request.path.partition("?")
    return Given(
        connection=case.connection,
        path=path,
        method=request.method,
        query=request.query or query,
        body=data,
        content_type=content_type or "application/json",
        user=case.user,
        issuer=case.issuer,
        groups=None if case.groups is None else tuple(case.groups),
        client_ip=case.client_ip,
        at=at,
        status=response.status if response else None,
        response=_response(response),
    )


def _response(settings: ResponseSettings | None) -> bytes:
    if settings is None or (settings.body is None and settings.text is None):
        return b""
    return _bytes(settings.text) if settings.text is not None else msgspec.json.encode(settings.body)


def _bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise SettingError("this text is not valid Unicode and cannot be sent; write it as JSON in `body`") from None


def _words(length: int) -> str:
    return ("word " * (length // 5 + 1))[:length]


def case_from(policies: PolicySet, given: Given, name: str) -> str:
    """Return a case as YAML: the request *given*, and its current outcome as the expectation."""
    outcome = rehearse(policies, given)
    request: dict[str, Any] = {"method": given.method, "path": given.path}
    if given.query:
        request["query"] = given.query
    if given.body and is_json(given.content_type):
        request["body"] = msgspec.json.decode(given.body)
    elif given.body and is_ndjson(given.content_type):
        request["lines"] = [msgspec.json.decode(line) for line in given.body.splitlines()]
    elif given.body:
        request |= {"text": given.body.decode("utf-8", "replace"), "content_type": given.content_type}
    expect: dict[str, Any] = {"effect": outcome.effect}
    if outcome.rule:
        expect["rule"] = outcome.rule
    expect["status"] = outcome.status
    if outcome.exchange.decision and outcome.exchange.decision.shadow:
        expect["shadow"] = list(outcome.exchange.decision.shadow)
    case: dict[str, Any] = {"name": name, "connection": given.connection, "user": given.user}
    if given.groups is not None:
        case["groups"] = list(given.groups)
    if given.at is not None:
        case["at"] = datetime.fromtimestamp(given.at, UTC).isoformat(timespec="seconds")
    case["request"] = request
    if given.status is not None:
        case["response"] = {"status": given.status}
        if given.response:
            try:
                case["response"]["body"] = msgspec.json.decode(given.response)
            except msgspec.DecodeError:
                case["response"]["text"] = given.response.decode("utf-8", "replace")
    case["expect"] = expect
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False  # type: ignore[assignment]
    yaml.width = 4096
    yaml.dump([case], text)
    if all(c.isprintable() or c == "\n" for c in text.getvalue()):
        return text.getvalue()
    yaml.allow_unicode = False  # control characters from callers must not affect a reader's terminal
    escaped = io.StringIO()
    yaml.dump([case], escaped)
    return escaped.getvalue()


def _differences(expect: ExpectSettings, outcome: Outcome) -> Iterator[str]:
    decision, problem = outcome.exchange.decision, outcome.problem
    found = {
        "effect": outcome.effect,
        "rule": outcome.rule,
        "status": outcome.status,
        "shadow": list(decision.shadow) if decision else [],
        "problem": problem.kind.slug if problem else "",
    }
    for name, value in found.items():
        wanted = getattr(expect, name)
        if wanted is not None and wanted != value:
            because = f" ({problem.detail})" if name == "effect" and problem else ""
            yield f"{name}: expected {wanted!r}, found {value!r}{because}"


def _covered(outcome: Outcome) -> frozenset[tuple[str, str]]:
    connection = outcome.connection
    covered = {(connection.name, outcome.rule)} if outcome.effect == "limit" else set()
    if outcome.rule == "access" and outcome.effect == "deny":
        covered.add((connection.name, "access"))
    for _, rules in outcome.judged:
        for rule in rules.rules:
            try:
                verdict = judge(type(rules)((rule,), rules.needs), outcome.facts)
            except ValueError:
                continue
            if verdict.matched:
                covered.add((connection.name, rule.name))
    return frozenset(covered)
