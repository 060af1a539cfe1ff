"""``weir exec``: run a command with the variables from which SDKs read the gateway's address and the caller's token."""

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
_SHEBANG = 200  # bytes at the start of a file that are searched for its `#!` line
#: The value of variables from which clients read a key but no address. It is not a key.
WITHHELD = "withheld-by-weir-exec"
#: The code to print for an API without a snippet in its profile. Any HTTP client works.
_CODE = """\
import os, httpx
client = httpx.Client(base_url="{url}", headers={"Authorization": "Bearer " + os.environ["WEIR_TOKEN"]})
"""


def execute(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    connection: Annotated[str, typer.Option(help="Set the variables of this connection only.")] = "",
    gateway: Annotated[str, typer.Option(help="The gateway's URL (default: WEIR_URL, or the latest login's).")] = "",
    language: Annotated[str, typer.Option(help="The command's language: python or other (default: by its file).")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings only, not the code to write.")] = False,
) -> None:
    """Run a command with your token in WEIR_TOKEN, the gateway in WEIR_URL, and the variables that SDKs read.

    The token variable of an SDK is set only if the SDK also reads its address from a variable: a client with a token
    and no address sends the token to the vendor. For all other connections, the code to write is printed to standard
    error. This includes APIs with such an SDK in Python only, if the command is not Python. A program that reads the
    token variable but has its own address sends the token there: name the connection that it uses. The token is not
    renewed while the command runs.

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
        fail(f"--language: {language!r} is neither python nor other")
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
    """The environment of a command, lines with code to write, and warnings."""

    environment: dict[str, str]
    code: list[str]
    warnings: list[str]


def prepare(
    before: Mapping[str, str], gateway: str, connections: Sequence[dict[str, Any]], token: str, language: Language
) -> Prepared:
    """Extend the environment *before* for *connections* of *gateway*. Ends the command if that fails."""
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
        # Set by hand or by an enclosing `weir exec`. Its reader may have another address.
        if value == token and name not in ours:
            warnings.append(f"{name} is removed: its reader could send your token anywhere; WEIR_TOKEN has it")
            del environment[name]
    vendors = {name: c["name"] for c in connections if (p := _profile(c)) is not None for name in p.vendor_keys}
    for name, connection in vendors.items():
        if name in environment and name not in ours and environment[name] != WITHHELD:
            warnings.append(f"{name} is set: a client of {connection} that reads it calls the vendor, past the gateway")
    return Prepared(environment, code, warnings)


def variables(
    gateway: str, connections: Sequence[dict[str, Any]], token: str, language: Language = "python"
) -> dict[str, str]:
    """Return the SDKs' variables for *connections* of *gateway*. Ends the command if two connections conflict.

    The gateway names the connections and their URLs, but not the variables, which come from the shipped profiles: some
    names in an environment run commands.
    """
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for c in connections:
        url = str(c["url"])
        if not (url.startswith(gateway) and _PATH.fullmatch(url.removeprefix(gateway))):
            fail(f"the gateway names a URL that is not below its own: {url}", 1)
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
    """Return python for an interpreter, by its name, and for a script, by its first line; else other."""
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
    """Return the shipped profile of *connection*; None if this version does not have it."""
    try:
        return load_profile(str(connection["profile"]))
    except SettingError:
        return None


def _reads(profile: Profile | None, language: Language) -> bool:
    """Return whether every SDK of the API in *language* reads its address from a variable."""
    pair = profile.environment if profile is not None else None
    return pair is not None and (pair.languages is None or language in pair.languages)


def _code(connection: Mapping[str, Any], profile: Profile | None) -> list[str]:
    """Return lines with the code to write for *connection*."""
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
    """Return NO_PROXY with the gateway's host if it is loopback and a proxy is set: a proxy can read http://.

    Without a proxy in the environment NO_PROXY stays unset, since Python then asks the system for proxies.
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
