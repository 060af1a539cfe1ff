"""``weir explain``: show how the policies judge a request, written or recorded, and why."""

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import duckdb
import msgspec
import pydantic
import typer

from weir.base.mistakes import SettingError
from weir.base.text import inert
from weir.cli.fail import fail
from weir.policy.conditions import Clause
from weir.policy.trace import lines
from weir.policyset.load import folder_path, load_without_secrets
from weir.policyset.model import PolicySet
from weir.recorder.catalog import confine
from weir.recorder.flows import MissingFlowError, flow_of
from weir.recorder.folder import Recordings
from weir.rehearsal.cases import CaseSettings, given
from weir.rehearsal.places import Places
from weir.rehearsal.rehearse import Given, Outcome, find_connection, rehearse
from weir.rehearsal.words import explain as in_words

#: The most places of texts that ``--json`` lists for one clause.
_MOST_PLACES = 200
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def explain(
    request: Annotated[str, typer.Argument(help="A JSON file, a file with a curl command, or a request's id.")],
    connection: Annotated[str, typer.Option(help="The connection (default: by the path).")] = "",
    user: Annotated[str, typer.Option(help="The caller (default: someone, or the recorded caller).")] = "",
    group: Annotated[
        list[str] | None, typer.Option(help="A group of the caller; repeat it (default: all with access).")
    ] = None,
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show which rules match a request, which do not, and why. Nothing is sent or counted.

    A JSON file has the form of a case of a policy test: [bold]connection[/] and [bold]request[/] ([bold]method[/],
    [bold]path[/] below the connection's prefix, [bold]body[/]), and optionally [bold]user[/], [bold]groups[/],
    [bold]at[/] and [bold]response[/]. The present policies judge a recorded request from its record, with its masks.

    [bold]Examples[/]

      weir explain request.json

      weir explain curl.txt --user alice --group search

      weir explain 019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11
    """
    loaded, _ = load_without_secrets(folder_path(policies))
    if _REQUEST_ID.fullmatch(request):
        given_, before = recorded(loaded, request)
    else:
        given_, before = _from_file(loaded, Path(request), connection), []
    changes: dict[str, Any] = {}
    if user:
        changes["user"] = user
    if group:
        changes["groups"] = tuple(group)
    try:
        outcome = rehearse(loaded, dataclasses.replace(given_, **changes))
    except SettingError as error:
        fail(error.message)
    if as_json:
        decision = outcome.exchange.decision
        document = {
            "effect": outcome.effect,
            "rule": outcome.rule or None,
            "status": outcome.status,
            "problem": outcome.problem.kind.slug if outcome.problem else None,
            "detail": outcome.problem.detail if outcome.problem else None,
            "shadow": list(decision.shadow) if decision else [],
            "policy_version": loaded.version,
            "clauses": list(_clauses(outcome)),
        }
        print(json.dumps(document, indent=1))
        return
    for line in [*before, *in_words(outcome)]:
        print(inert(line))


def _clauses(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield each clause in the form of the record. A clause on texts also lists its places and matches."""
    places = Places(outcome)
    judged = [entry for entry in outcome.clauses() if isinstance(entry.node, Clause)]
    for entry, line in zip(judged, lines(judged, outcome.facts), strict=False):
        shown: dict[str, Any] = msgspec.to_builtins(line)
        if isinstance(entry.node, Clause) and entry.node.looks:
            found = places.found(entry.node) if entry.outcome is True else []
            shown["read"] = places.read(entry.node)[:_MOST_PLACES]
            shown["found"] = [dataclasses.asdict(one) for one in found[:_MOST_PLACES]]
        yield shown


def _from_file(policies: PolicySet, path: Path, connection: str) -> Given:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: cannot be read ({error}); name a JSON file, a file with a curl command, or a request's id")
    command = text.lstrip().removeprefix("$ ")
    if command.startswith("curl"):
        return _from_curl(policies, command, connection)
    try:
        document = msgspec.json.decode(text.encode())
        if not isinstance(document, dict):
            fail(f"{path}: must be an object with `connection` and `request`")
        document = {"name": path.name, "expect": {"effect": "allow"}} | document
        if connection:
            document["connection"] = connection
        elif "connection" not in document and len(policies.connections) == 1:
            document["connection"] = policies.connections[0].name
        return given(policies, CaseSettings.model_validate(document))
    except msgspec.DecodeError as error:
        fail(f"{path}: is neither JSON nor a curl command ({error})")
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        fail(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except SettingError as error:
        fail(f"{path}: {error.message}")


_DATA = frozenset(("-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--json"))
#: Options of curl, with and without a value, that do not change how the request is judged.
_VALUES = frozenset((
    "-o", "--output", "-m", "--max-time", "-u", "--user", "-A", "--user-agent", "-x", "--proxy", "--cacert", "-E",
    "--cert", "--key", "-w", "--write-out", "-b", "--cookie", "-c", "--cookie-jar", "-e", "--referer",
    "--connect-timeout", "--retry", "--resolve", "-D", "--dump-header", "--oauth2-bearer", "--unix-socket",
))  # fmt: skip
_FLAGS = frozenset((
    "-s", "--silent", "-S", "--show-error", "-i", "--include", "-v", "--verbose", "-k", "--insecure", "-L",
    "--location", "-f", "--fail", "-#", "--progress-bar", "--compressed", "--http1.1", "--http2",
    "--no-progress-meter", "--fail-with-body", "-g", "--globoff", "-N", "--no-buffer", "-4", "-6",
))  # fmt: skip


def _from_curl(policies: PolicySet, text: str, connection: str) -> Given:
    try:
        words = shlex.split(_plain_quotes(text.replace("\\\n", " ")), comments=True)[1:]
    except ValueError as error:
        fail(f"the curl command cannot be read ({error})")
    method, url, content_type, data = "", "", "", []
    for name, value in _options(words):
        if name in ("-X", "--request"):
            method = value
        elif name in ("-H", "--header"):
            header, _, content = value.partition(":")
            content_type = content.strip() if header.strip().lower() == "content-type" else content_type
        elif name in _DATA:
            data.append(_curl_data(value, raw=name == "--data-raw", strip=name in ("-d", "--data", "--data-ascii")))
            content_type = content_type or ("application/json" if name == "--json" else "")
        elif name in ("-I", "--head"):
            method = "HEAD"
        elif name == "--url":
            url = value
    if not url:
        fail("the curl command names no URL")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        fail(f"{url} is not a URL ({error})")
    routed = None if connection else policies.table.route(host, port, parts.path or "/")
    if routed is None and not connection:
        fail(f"no connection has the path {parts.path}; name one with --connection")
    found = routed.connection if routed else find_connection(policies, connection)
    path = routed.path if routed else parts.path.removeprefix(found.match.path or "") or "/"
    body = b"&".join(data)
    content_type = content_type or "application/x-www-form-urlencoded"
    return Given(found.name, path, method or ("POST" if data else "GET"), parts.query, body, content_type)


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield curl's options with their values, and the URL as ``--url``. An unknown option ends the command."""
    takes = _DATA | _VALUES | {"-X", "--request", "-H", "--header", "--url"}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            yield "--url", word
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--"):  # one-letter options may be joined; the last may have a value
            name, equals, value = word[:2], "", word[2:]
            if value and name in takes:
                equals = "="
            elif value and name in _FLAGS | {"-I"}:
                left.insert(0, f"-{value}")
        if name in takes:
            if not equals and not left:
                fail(f"curl's {name} has no value")
            yield name, value if equals else left.pop(0)
        elif name in _FLAGS | {"-I", "--head"}:
            yield name, ""
        else:
            fail(f"curl's {name} is not understood here; leave it out, or write the request as JSON instead")


def _plain_quotes(text: str) -> str:
    """Return *text* with ``$'…'`` of the shell as plain quotations; "copy as cURL" of browsers writes them."""
    escapes = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\"}

    def unescaped(match: re.Match[str]) -> str:
        kind, digits = match[1][0], match[1][1:]
        return chr(int(digits, 16)) if kind in "xuU" and digits else escapes.get(match[1], match[0])

    def plain(match: re.Match[str]) -> str:
        escape = r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|U[0-9a-fA-F]{1,8}|.)"
        return shlex.quote(re.sub(escape, unescaped, match[1], flags=re.DOTALL))

    return re.sub(r"(?<!\S)\$'((?:[^'\\]|\\.)*)'", plain, text, flags=re.DOTALL)


def _curl_data(value: str, *, raw: bool, strip: bool) -> bytes:
    if raw or not value.startswith("@"):
        return value.encode()
    try:
        content = Path(value[1:]).read_bytes()
    except OSError as error:
        fail(f"{value[1:]}: cannot be read ({error.strerror})")
    return content.replace(b"\r", b"").replace(b"\n", b"") if strip else content


def recorded(policies: PolicySet, request_id: str) -> tuple[Given, list[str]]:
    """Return the recorded request, and lines about the recorded decision."""
    database = policies.recordings / "index.duckdb"
    columns = (
        "connection", "user", "groups", "client_ip", "epoch(time) AS at", "segment", "offset", "effect", "rule",
        "rule_file", "rule_line", "problem", "upstream_status", "policy_version", "trace", "masked_request",
    )  # fmt: skip
    names = ", ".join(c if " " in c else f'"{c}"' for c in columns)
    try:
        with duckdb.connect(str(database), read_only=True) as index:
            confine(index, Recordings(policies.recordings))
            rows = index.execute(f"SELECT {names} FROM flows WHERE request_id = ?", [request_id]).fetchall()  # noqa: S608
    except duckdb.Error as error:
        fail(f"{database}: {str(error).splitlines()[0]}")
    if not rows:
        fail(f"no request {request_id} is recorded in {policies.recordings}", 1)
    row: dict[str, Any] = dict(zip((c.rpartition(" ")[2] for c in columns), rows[0], strict=True))
    try:
        connection = find_connection(policies, row["connection"] or "")
    except SettingError as error:
        fail(error.message)
    try:
        flow = flow_of(policies.recorded, {**row, "request_id": request_id})
    except MissingFlowError as error:
        fail(str(error))
    path, _, query = flow.request.path.partition("?")
    answered = row["upstream_status"] if row["problem"] is None and flow.response else None
    found = Given(
        connection.name,
        path.removeprefix(connection.upstream.base_path) or "/",
        flow.request.method,
        query,
        flow.request.content or b"",
        flow.request.headers.get("content-type", "application/json"),
        row["user"] or "nobody",
        groups=tuple(row["groups"]),
        client_ip=row["client_ip"] or "",
        at=row["at"],
        status=answered,
        response=(flow.response.content or b"") if answered and flow.response else b"",
    )
    place = f" ({row['rule_file']}:{row['rule_line']})" if row["rule_line"] else ""
    before = [f"recorded: {row['effect'] or 'refused'} by {row['rule'] or row['problem']}{place}, "
              f"policies {(row['policy_version'] or '-')[:12]}"]  # fmt: skip
    before += [f"  {t['outcome']:<10} {t['rule']}: {t['clause']}   saw {t['saw']}" for t in row["trace"] or ()]
    if row["masked_request"]:
        before.append("  the record is masked, so this result can differ from the recorded one")
    return found, [*before, f"now, by policies {policies.version[:12]}:"]
