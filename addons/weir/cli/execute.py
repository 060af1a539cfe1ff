"""``weir exec``: run a command with the variables from which SDKs take the gateway's address and the caller's token."""

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from weir.base.mistakes import SettingError
from weir.base.text import inert
from weir.cli.fail import fail
from weir.login import server, session
from weir.profiles.profile import Profile, load_profile
from weir.routing.model import is_loopback

Language = Literal["python", "other"]

_PATH = re.compile(r"(?:/[A-Za-z0-9._~%-]+)*")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*")
_SHEBANG = 200  # bytes of a file in which its `#!` line is looked for
#: Put into variables from which clients take a key but no address. It is no key.
WITHHELD = "withheld-by-weir-exec"
#: The client to write for an API without a snippet of its own: any HTTP client will do.
_CODE = """\
import os, httpx
client = httpx.Client(base_url="{url}", headers={"Authorization": "Bearer " + os.environ["WEIR_TOKEN"]})
"""


def execute(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    connection: Annotated[str, typer.Option(help="Only this connection's variables.")] = "",
    gateway: Annotated[str, typer.Option(help="The gateway's URL (default: WEIR_URL, or the latest login's).")] = "",
    language: Annotated[str, typer.Option(help="What the command runs: python or other (default: by its file).")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no code to write, only warnings.")] = False,
) -> None:
    """Run a command with your token in WEIR_TOKEN, the gateway in WEIR_URL, and the variables that SDKs read.

    An SDK's own token variable is set only if the SDK takes its address from a variable too: a client with a token
    and no address sends the token to the vendor. For all other connections, the code to write is printed to standard
    error. The same happens where an API's SDK reads both variables in Python only and the command is no Python.
    A program that takes a token from such a variable and has an address of its own sends the token there: name the
    connection that it uses. The token is not renewed while the command runs.

    [bold]Examples[/]

      weir exec -- python search.py

      weir exec --connection chat -- node chat.js

      weir exec --language python -- uv run search.py
    """
    url = session.which(gateway)
    token = session.token(url)
    connections = server.whoami(url, token)["connections"]
    if connection:
        chosen = [c for c in connections if c["name"] == connection]
        if not chosen:
            fail(f"you may not use {connection!r}; reachable: {', '.join(c['name'] for c in connections) or 'none'}", 1)
        connections = chosen
    if language not in ("", "python", "other"):
        fail(f"{language!r} is no language that matters here; there are python and other")
    spoken: Language = "python" if (language or language_of(command)) == "python" else "other"
    made = prepare(os.environ, url, connections, token, spoken)
    for line in made.warnings if quiet else [*made.code, *made.warnings]:
        print(inert(line if line.startswith(" ") else f"weir: {line}"), file=sys.stderr)  # code is to be pasted
    try:
        os.execvpe(command[0], command, made.environment)  # noqa: S606
    except OSError as error:
        print(f"weir: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a command runs with: its environment, lines of code to write, and lines that warn."""

    environment: dict[str, str]
    code: list[str]
    warnings: list[str]


def prepare(
    before: Mapping[str, str], gateway: str, connections: Sequence[dict[str, Any]], token: str, language: Language
) -> Prepared:
    """Extend the environment *before* for *connections* of *gateway*. Ends the command where that is not possible."""
    ours = {**variables(gateway, connections, token, language), "WEIR_URL": gateway, "WEIR_TOKEN": token}
    environment, code, warnings = {**before, **ours, **_past_proxies(before, gateway)}, [], []
    for c in connections:
        profile = _profile(c)
        pair = profile.environment if profile is not None else None
        if pair is None or not _reads(profile, language):
            code += _code(c, profile)
        else:
            removed = [name for name in pair.unset if name not in ours and environment.pop(name, None) is not None]
            warnings += [f"{name} is removed: it is not for clients of a gateway ({c['name']})" for name in removed]
            environment |= {name: WITHHELD for name in pair.withheld if before.get(name, token) == token}
    for name, value in sorted(environment.items()):
        # It was set by hand or by an enclosing `weir exec`. No address is known to stand beside it.
        if value == token and name not in ours:
            warnings.append(f"{name} is removed: its reader could send your token anywhere; it stands in WEIR_TOKEN")
            del environment[name]
    vendors = {name: c["name"] for c in connections if (p := _profile(c)) is not None for name in p.vendor_keys}
    for name, connection in vendors.items():
        if name in environment and name not in ours and environment[name] != WITHHELD:
            warnings.append(f"{name} is set: a client of {connection} that reads it calls the vendor, past the gateway")
    return Prepared(environment, code, warnings)


def variables(
    gateway: str, connections: Sequence[dict[str, Any]], token: str, language: Language = "python"
) -> dict[str, str]:
    """The SDKs' variables for *connections* of *gateway*; ends the command where two would set one differently.

    The gateway says which connections there are and where; which variables their APIs' SDKs read is ours to
    know: what a gateway sends becomes part of an environment, in which some names run commands.
    """
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for c in connections:
        url = str(c["url"])
        if not (url.startswith(gateway) and _PATH.fullmatch(url.removeprefix(gateway))):
            fail(f"the gateway names an address that is not below its own: {url}", 1)
        profile = _profile(c)
        if profile is None or profile.environment is None or not _reads(profile, language):
            continue
        pair = profile.environment
        values = {**dict.fromkeys(pair.base_url, url + pair.path), **dict.fromkeys(pair.token, token)}
        for name, value in values.items():
            if found.setdefault(name, value) != value:
                fail(f"both {owner[name]} and {c['name']} would set {name}; choose with --connection")
            owner.setdefault(name, c["name"])
    return found


def language_of(command: Sequence[str]) -> Language:
    """Whether *command* is Python: an interpreter by its name, or a script by its first line. All else is unknown."""
    if _PYTHON.fullmatch(Path(command[0]).name):
        return "python"
    try:
        with open(shutil.which(command[0]) or command[0], "rb") as file:
            first = file.read(_SHEBANG).partition(b"\n")[0].decode(errors="replace")
    except OSError:
        return "other"
    words = first[2:].split() if first.startswith("#!") else []
    return "python" if any(_PYTHON.fullmatch(Path(word).name) for word in words) else "other"


def _profile(connection: Mapping[str, Any]) -> Profile | None:
    """The shipped profile of *connection*; None where this version has none of that name."""
    try:
        return load_profile(str(connection["profile"]))
    except SettingError:
        return None


def _reads(profile: Profile | None, language: Language) -> bool:
    """Whether every SDK of the API in *language* takes its address from a variable."""
    pair = profile.environment if profile is not None else None
    return pair is not None and (pair.languages is None or language in pair.languages)


def _code(connection: Mapping[str, Any], profile: Profile | None) -> list[str]:
    """Lines that tell the reader what to write for *connection*."""
    name, pair = connection["name"], profile.environment if profile is not None else None
    if pair is not None:
        assert pair.languages is not None
        language = pair.languages[0]
        why = (
            f"{' and '.join(pair.token)} is not set for {name}: only SDKs in {language} take an address from "
            f"{pair.base_url[0]} (--language {language} sets both). Write:"
        )
    else:
        why = f"no variables are set for {name}: its clients take no address from one. Write:"
    text = (profile.code if profile is not None else "") or _CODE
    url = str(connection["url"]).replace('"', "%22").replace("\\", "%5C")
    return [why, *(f"    {line}" for line in text.replace("{url}", url).splitlines())]


def _past_proxies(before: Mapping[str, str], gateway: str) -> dict[str, str]:
    """NO_PROXY with the gateway's host if that is loopback and a proxy is set: a proxy reads what http:// carries.

    Without a proxy in the environment it stays unset, since Python then asks the system for proxies.
    """
    host = urlsplit(gateway).hostname or ""
    proxies = [name for name in before if name.lower().endswith("_proxy") and name.lower() != "no_proxy"]
    if not is_loopback(host) or not proxies:
        return {}
    hosts = [host, f"[{host}]"] if ":" in host else [host]
    return {
        name: ",".join(filter(None, [before.get(name) or before.get(name.swapcase(), ""), *hosts]))
        for name in ("no_proxy", "NO_PROXY")
    }
