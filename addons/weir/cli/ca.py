"""``weir ca``: the gateway's own certificate authority, with which it intercepts TLS."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from weir.base.mistakes import SettingError
from weir.cli.fail import fail
from weir.cli.table import print_table
from weir.config.load import load_folder
from weir.policyset.load import folder_path
from weir.routing.model import parse_upstream
from weir.tls import ca

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

_Policies = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]
_Days = Annotated[int, typer.Option(min=1, max=3650, help="How many days the authority is valid.")]
_Hosts = Annotated[list[str] | None, typer.Option("--host", help="One more host for its certificates; repeat it.")]

#: Commands that make each kind of client trust the authority. {pem} is the path of its certificate on the client.
_TRUST = {
    "curl": ["curl --cacert {pem} https://…", "export CURL_CA_BUNDLE={pem}      # for all calls of a shell"],
    "python": [
        "export SSL_CERT_FILE={pem}        # httpx, and the SDKs built on it (cohere, openai, anthropic)",
        "export REQUESTS_CA_BUNDLE={pem}   # requests",
        "# both replace the usual authorities; to keep them: cat $(python -m certifi) {pem} > both.pem",
    ],
    "node": ["export NODE_EXTRA_CA_CERTS={pem}"],
    "java": [
        "keytool -importcert -noprompt -cacerts -storepass changeit -alias weir -file {pem}",
        "# or, for one program: -Djavax.net.ssl.trustStore=…",
    ],
    "system": [
        "# Debian, Ubuntu",
        "cp {pem} /usr/local/share/ca-certificates/weir.crt && update-ca-certificates",
        "# Fedora, RHEL",
        "cp {pem} /etc/pki/ca-trust/source/anchors/weir.pem && update-ca-trust",
        "# macOS",
        "security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {pem}",
        "# Windows",
        "certutil -addstore Root {pem}",
    ],
}


@app.callback()
def authority() -> None:
    """Manage the authority that signs certificates of services, for callers of explicit and transparent listeners.

    Its certificates are valid for the hosts of the connections only. A stolen key is not good for other hosts either.

    [bold]Examples[/]

      weir ca create

      weir ca trust python
    """


@app.command()
def create(
    policies: _Policies = "",
    host: _Hosts = None,
    days: _Days = ca.DAYS,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing authority at once.")] = False,
) -> None:
    """Create the authority, for the hosts of all connections with an https upstream.

    [bold]Examples[/]

      weir ca create

      weir ca create --host rerank.internal --days 90
    """
    if ca.certificate_path().exists() and not force:
        fail(
            "an authority exists; `weir ca rotate` replaces it without a gap. `weir ca create --force` replaces it at "
            "once: callers that trust only the old one then fail",
            1,
        )
    made = ca.make(_hosts(policies, host), days)
    ca.save(made)
    _say(made)
    print("make callers trust it: weir ca trust", file=sys.stderr)


@app.command()
def show(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False) -> None:
    """Show the authority in use, and the next one.

    [bold]Examples[/]

      weir ca show

      weir ca show --json
    """
    rows = []
    for state, found in (("in use", ca.current()), ("next", ca.following())):
        if found is not None:
            until = found.certificate.not_valid_after_utc
            rows.append(
                {
                    "state": state,
                    "until": until.strftime("%Y-%m-%d %H:%M:%SZ"),
                    "days_left": (until - datetime.now(UTC)).days,
                    "sha256": found.fingerprint,
                    "hosts": list(found.hosts),
                    "file": str(ca.certificate_path(following=state == "next")),
                }
            )
    if as_json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        fail("there is no authority; run: weir ca create", 1)
    else:
        print_table(tuple(rows[0]), [[_text(value) for value in row.values()] for row in rows])


@app.command()
def trust(
    client: Annotated[str, typer.Argument(help=f"One kind of client: {', '.join(_TRUST)} (default: all).")] = "",
    file: Annotated[str, typer.Option(help="The path of the certificate on the client.")] = "",
) -> None:
    """Print the commands that make clients trust the authority.

    [bold]Examples[/]

      weir ca trust

      weir ca trust python --file /etc/weir-ca.pem
    """
    if ca.current() is None:
        fail("there is no authority; run: weir ca create", 1)
    if client and client not in _TRUST:
        fail(f"{client!r} is not one of {', '.join(_TRUST)}")
    pem = file or str(ca.certificate_path())
    for name, lines in _TRUST.items():
        if client in ("", name):
            print(f"# {name}")
            print("\n".join(line.format(pem=pem) for line in lines))


@app.command()
def export() -> None:
    """Print the certificates that callers must trust, in PEM: of the authority, and of the next one.

    [bold]Examples[/]

      weir ca export > weir-ca.pem
    """
    found = [authority for authority in (ca.current(), ca.following()) if authority is not None]
    if not found:
        fail("there is no authority; run: weir ca create", 1)
    print("".join(authority.pem.decode() for authority in found), end="")


@app.command()
def rotate(
    policies: _Policies = "",
    host: _Hosts = None,
    days: _Days = ca.DAYS,
    finish: Annotated[bool, typer.Option("--finish", help="Put the next authority into use.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the next authority, though callers may trust it.")
    ] = False,
) -> None:
    """Replace the authority without a gap: create the next one, make callers trust both, then finish.

    Do this also before you add a connection to another host: the certificate lists the hosts. A running gateway uses
    the next authority within a second after --finish.

    [bold]Examples[/]

      weir ca rotate

      weir ca export > weir-ca.pem

      weir ca rotate --finish
    """
    if ca.current() is None:
        fail("there is no authority to replace; run: weir ca create", 1)
    if finish:
        following = ca.following()
        if following is None:
            fail("there is no next authority; first run: weir ca rotate", 1)
        ca.follow()
        _say(following)
        return
    if ca.following() is not None and not force:
        fail(
            "there is a next authority, and callers may trust it already; run: weir ca rotate --finish, or replace it "
            "with --force",
            1,
        )
    made = ca.make(_hosts(policies, host), days)
    ca.save(made, following=True)
    _say(made)
    print("make callers trust both (weir ca export > weir-ca.pem), then run: weir ca rotate --finish", file=sys.stderr)


def _hosts(policies: str, more: list[str] | None) -> list[str]:
    found = []
    for document in load_folder(folder_path(policies)).connections:
        try:
            origin = parse_upstream(document.settings.upstream).origin
        except SettingError as error:
            fail(f"{document.file}: upstream: {error.message}")
        if origin.scheme == "https":
            found.append(origin.host)
    hosts = [*found, *(host.lower().strip("[]") for host in more or ())]
    if not hosts:
        fail("no connection has an https upstream, so the authority has no host; name hosts with --host")
    return hosts


def _say(authority: ca.Authority) -> None:
    print(authority.fingerprint)
    print(
        f"for {', '.join(authority.hosts)}, until {authority.certificate.not_valid_after_utc:%Y-%m-%d}", file=sys.stderr
    )


def _text(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) else value
