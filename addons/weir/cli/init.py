"""``weir init``: write a policies folder to start with, for one service."""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from weir.base.addresses import Kind, literal
from weir.base.mistakes import ConfigError, SettingError
from weir.cli.fail import fail
from weir.config.load import GATEWAY_FILE
from weir.policyset.load import folder_path, load_without_secrets
from weir.profiles.profile import Profile, load_profile
from weir.routing.model import is_loopback, parse_upstream

LISTEN = "http://127.0.0.1:8080"
#: The group that may use the connection.
GROUP = "users"

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9._~/:%-]*")  # YAML reads it as a string without quotes
#: The last labels of host names that resolve to private addresses, in Docker, Kubernetes and local networks.
_PRIVATE = ("internal", "local", "localdomain", "lan", "home", "home.arpa", "intranet", "private", "corp", "svc")


class _Key(NamedTuple):
    """How a service takes its key: the header, the text before the key, and the usual environment variable."""

    header: str
    scheme: str
    variable: str


#: Services that do not use ``Authorization: Bearer``, or have another variable than PROFILE_API_KEY.
_KEYS = {
    "chroma": _Key("X-Chroma-Token", "", "CHROMA_API_KEY"),
    "elasticsearch": _Key("Authorization", "ApiKey ", "ELASTIC_API_KEY"),
    "milvus": _Key("Authorization", "Bearer ", "MILVUS_TOKEN"),
    "nim": _Key("Authorization", "Bearer ", "NVIDIA_API_KEY"),
    "opensearch": _Key("Authorization", "Basic ", "OPENSEARCH_BASIC"),
    "pinecone": _Key("Api-Key", "", "PINECONE_API_KEY"),
    "qdrant": _Key("api-key", "", "QDRANT_API_KEY"),
    "vertex": _Key("Authorization", "Bearer ", "VERTEX_ACCESS_TOKEN"),
}

_GATEWAY = """\
# The gateway: where it listens, which tokens it accepts, and where it records.
# Run `weir check` after an edit. A running gateway reads the files again within seconds.

# The version of this file format.
version: 1

# The address that callers use. 127.0.0.1 accepts callers on this machine only.
listen: [{listen}]

# Who issues the tokens of callers. `local` is for development: `weir token --user alice --group {group}` prints one.
# The gateway refuses `local` if it listens beyond this machine: then name your identity provider here.
issuers: [local]

# The folder for recordings, relative to the folder in which the gateway starts.
recordings: recordings
"""

_CONNECTION = """\
# One service: where it is, who may use it, and what callers may send.

# The version of this file format.
version: 1

# The name of this connection in logs, recordings and commands.
connection: {name}

# The API of the service. The gateway reads requests and answers by it; see `weir profiles show {profile}`.
profile: {profile}

# The URL of the service. The gateway sends the credential to this scheme, host and port only.
upstream: {upstream}
{addresses}
# The first part of the path of requests for this connection. Callers use {base_url} as their base URL.
match: {{path: {path}}}
{credential}
# The groups that may use this connection. The gateway refuses all other callers.
access: {{groups: [{group}]}}
{writes}
# Examples of more settings. To use one, remove the `#` in front of its lines.
#
# At most 60 requests a minute for each user:
# limits: [{{rate: 60/minute, per: user}}]
#
# Refuse requests with more than 1,000 documents:
# rules: [{{name: no-huge-requests, when: {{documents: {{gt: 1000}}}}, effect: deny}}]
#
# Replace e-mail addresses, phone numbers and card numbers, in recordings and in answers:
# masks: [{{detect: [email, phone, credit_card], with: redact}}]
"""

_CREDENTIAL = """
# The header with which the gateway authenticates at the service. The secret is in the environment variable
# {variable} of the gateway{form}. Callers never see it.
credential:
  header: {header}
  value: {value}
"""

_NO_CREDENTIAL = """
# The service needs no credential. To add one, remove the `#` and set the environment variable.
# credential:
#   header: {header}
#   value: {value}
"""

_ADDRESSES = """
# What the host name may resolve to. Without this line, the gateway connects to public addresses only.
addresses: [{kind}]
"""

_PUBLIC = """
# The host name must resolve to a public address. If the service is in a private network, remove the `#`.
# addresses: [private]
"""

_WRITES = """
# Requests that change data in the service: `deny`, `allow`, or `require_approval` by a reviewer.
writes: deny
"""


def init(
    upstream: Annotated[str, typer.Option(help="The URL of the service.", show_default=False)],
    profile: Annotated[str, typer.Option(help="The API of the service, from `weir profiles`.", show_default=False)],
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The folder (default: WEIR_POLICIES, or policies).")
    ] = "",
    name: Annotated[str, typer.Option(help="The name of the connection (default: the profile's name).")] = "",
    path: Annotated[str, typer.Option(help="The path at the gateway (default: / and the name).")] = "",
    credential_env: Annotated[
        str, typer.Option(help="The environment variable with the service's key (default: by the profile).")
    ] = "",
    no_credential: Annotated[bool, typer.Option("--no-credential", help="The service needs no key.")] = False,
) -> None:
    """Write a policies folder for one service: gateway.yaml and the file of the connection, with comments.

    The gateway listens on this machine only, and accepts the tokens of [bold]weir token[/]. The files pass
    [bold]weir check[/]. Existing files are not changed.

    [bold]Examples[/]

      weir init --upstream https://api.cohere.com --profile cohere

      weir init --upstream http://reranker:8080 --profile tei --name reranker --no-credential

      weir init --upstream https://api.openai.com --profile openai --credential-env CHAT_KEY /etc/weir
    """
    target, name = folder_path(folder), name or profile
    if not _NAME.fullmatch(name) or f"{name}.yaml" == GATEWAY_FILE:
        fail(f"--name: {name!r} is not a name; use lower-case letters, digits, '-' and '_', and not gateway")
    key = _KEYS.get(profile, _Key("Authorization", "Bearer ", f"{re.sub('[^A-Z0-9]', '_', profile.upper())}_API_KEY"))
    if credential_env and no_credential:
        fail("choose one of --credential-env and --no-credential")
    key = key._replace(variable=credential_env or key.variable)
    if not _VARIABLE.fullmatch(key.variable):
        fail(f"--credential-env: {key.variable!r} is not the name of an environment variable; write e.g. SERVICE_KEY")
    try:
        service = load_profile(profile)
    except SettingError as error:
        fail(f"--profile: {error.message}")
    files = {
        GATEWAY_FILE: _GATEWAY.format(listen=LISTEN, group=GROUP),
        f"{name}.yaml": _connection(name, service, upstream, path or f"/{name}", key, with_key=not no_credential),
    }
    _check(files)
    _write(target, files)
    for file in files:
        print(target / file)
    _say_next(target, path or f"/{name}", "" if no_credential else key.variable)


def _connection(name: str, profile: Profile, upstream: str, path: str, key: _Key, *, with_key: bool) -> str:
    """The text of the connection's file."""
    try:
        origin = parse_upstream(upstream).origin
    except SettingError as error:
        fail(f"--upstream: {error.message}")
    kind = _kind(origin.host)
    if with_key and origin.scheme == "http" and kind is Kind.PUBLIC:
        print(f"weir: note: {upstream} has no TLS, so the network can read the key; use https://", file=sys.stderr)
    credential = (_CREDENTIAL if with_key else _NO_CREDENTIAL).format(
        variable=key.variable,
        header=key.header,
        value=f"{key.scheme}${{env:{key.variable}}}",
        form=", as user:password in Base64" if key.scheme == "Basic " else "",
    )
    return _CONNECTION.format(
        name=name,
        profile=profile.name,
        upstream=_scalar(upstream),
        addresses="" if kind is None else _PUBLIC if kind is Kind.PUBLIC else _ADDRESSES.format(kind=kind.value),
        base_url=f"{LISTEN}{path}".rstrip("/"),
        path=_scalar(path),
        credential=credential,
        group=GROUP,
        writes=_WRITES if profile.writes else "",
    )


def _kind(host: str) -> Kind | None:
    """What the name *host* resolves to, judged by its form. None where the gateway needs no permission to call it."""
    if literal(host) is not None or is_loopback(host):
        return None
    if host.endswith(".localhost"):
        return Kind.LOOPBACK
    private = "." not in host or host.endswith(tuple(f".{suffix}" for suffix in _PRIVATE))
    return Kind.PRIVATE if private else Kind.PUBLIC


def _scalar(text: str) -> str:
    """*text* as YAML reads it back."""
    return text if _PLAIN.fullmatch(text) and not text.endswith(":") else json.dumps(text)


def _check(files: dict[str, str]) -> None:
    """End the command unless *files* are a valid policies folder, before anything is written."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        try:
            load_without_secrets(Path(folder))
        except ConfigError as error:
            fail("; ".join(mistake.message for mistake in error.mistakes))


def _write(folder: Path, files: dict[str, str]) -> None:
    existing = [str(folder / file) for file in files if (folder / file).exists()]
    if existing:
        does = "exists" if len(existing) == 1 else "exist"
        fail(f"{' and '.join(existing)} {does}; nothing was written. Name another folder, or remove what is there")
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with open(folder / file, "x", encoding="utf-8") as opened:  # fails if the file appeared meanwhile
                written.append(folder / file)
                opened.write(text)
    except OSError as error:
        for path in written:
            path.unlink()
        fail(f"{error.filename}: cannot be written ({error.strerror}); name another folder")


def _say_next(folder: Path, path: str, variable: str) -> None:
    """Print the commands that follow."""
    option = "" if folder == folder_path() else f" --policies {folder}"
    lines = [
        *([f"export {variable}=…   # the key of the service"] if variable else []),
        f"weir run{option}",
        f"export TOKEN=$(weir token --user alice --group {GROUP})   # in another terminal",
        f'curl -H "Authorization: Bearer $TOKEN" {LISTEN}{path.rstrip("/")}/…',
    ]
    print("\n".join(["next:", *(f"  {line}" for line in lines)]), file=sys.stderr)
