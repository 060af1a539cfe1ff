"""The gateway's own authority: which of its certificates clients accept, and which they do not."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL
from typer.testing import CliRunner

from weir.base.home import HomeError
from weir.cli.main import app
from weir.tls import ca
from weir.tls.server import LEAF, LEAF_AHEAD, Leaves


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def trusted(authority: ca.Authority, host: str, leaves: Leaves | None = None) -> str:
    """Return the error of Python's TLS for a certificate of *authority* for *host*; empty if it is accepted."""
    server = SSL.Connection((leaves or Leaves(authority)).context(host))
    server.set_accept_state()
    context = ssl.create_default_context(cadata=authority.pem.decode())
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    for _ in range(10):
        try:
            client.do_handshake()
            return ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        server.bio_write(outgoing.read())
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        incoming.write(server.bio_read(65536))
    raise AssertionError("no handshake")


def test_it_speaks_for_its_hosts_and_for_nobody_else() -> None:
    authority = ca.make(["api.example", "127.0.0.1", "::1", "api.example"])
    assert authority.hosts == ("api.example", "127.0.0.1", "::1")
    for host in ("api.example", "eu.api.example", "127.0.0.1", "::1"):
        assert trusted(authority, host) == ""
    for host in ("evil.example", "example", "notapi.example", "127.0.0.2", "::2"):
        assert "subtree violation" in trusted(authority, host), host
    assert authority.covers("eu.api.example") and authority.covers("127.0.0.1")
    assert (
        not authority.covers("example") and not authority.covers("127.0.0.2") and not authority.covers("xapi.example")
    )


@pytest.mark.parametrize(
    ("hosts", "foreign"),
    [(["api.example"], "10.0.0.1"), (["api.example"], "::1"), (["10.0.0.1"], "api.example"), (["10.0.0.1"], "::1")],
)
def test_what_it_names_none_of_it_speaks_for_none_of(hosts: list[str], foreign: str) -> None:
    authority = ca.make(hosts)
    assert trusted(authority, hosts[0]) == "" and "subtree violation" in trusted(authority, foreign)


def test_it_makes_no_other_authorities() -> None:
    constraints = ca.make(["api.example"]).certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0


def test_certificates_are_made_anew_before_they_end() -> None:
    now = datetime.datetime.now(datetime.UTC)
    times = iter([now, now, now + LEAF - LEAF_AHEAD + datetime.timedelta(seconds=2)])
    leaves = Leaves(ca.make(["api.example"]), lambda: next(times))
    first = leaves.context("api.example")
    assert leaves.context("api.example") is first and leaves.context("api.example") is not first


def test_keys_are_the_owners_alone(home: Path) -> None:
    assert ca.current() is None
    ca.save(ca.make(["api.example"]))
    assert (home / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600 and (home / "ca").stat().st_mode & 0o777 == 0o700
    found = ca.current()
    assert found is not None and found.hosts == ("api.example",)
    (home / "ca" / "ca.key").chmod(0o640)
    with pytest.raises(HomeError, match="other users can read it"):
        ca.current()
    (home / "ca" / "ca.key").chmod(0o600)
    other = ca.make(["other.example"]).key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (home / "ca" / "ca.key").write_bytes(other)
    with pytest.raises(HomeError, match="not the key"):
        ca.current()


POLICIES = {
    "gateway.yaml": "version: 1\nlisten: [{url: 'http://127.0.0.1:3128', mode: explicit}]\nissuers: [local]\n",
    "one.yaml": "version: 1\nconnection: one\nprofile: cohere\nupstream: https://api.example\n",
    "two.yaml": "version: 1\nconnection: two\nprofile: cohere\nupstream: http://plain.example\n",
}


def test_the_commands(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    for name, text in POLICIES.items():
        (folder / name).write_text(text)

    def weir(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments])
        assert done.exit_code == code, done.output
        return done.output

    at = ["--policies", str(folder)]
    assert "run: weir ca create" in weir("ca", "show", code=1) and "run: weir ca create" in weir("ca", "export", code=1)
    assert "there is no CA here" in weir("check", *at)
    first = weir("ca", "create", *at, "--host", "10.0.0.1").splitlines()[0]
    assert "an authority exists" in weir("ca", "create", *at, code=1)
    assert "0 warnings" in weir("check", *at)
    assert "api.example, 10.0.0.1" in weir("ca", "show") and first in weir("ca", "show", "--json")
    (folder / "three.yaml").write_text(POLICIES["one.yaml"].replace("one", "three").replace("api", "other"))
    assert "is not valid for other.example; run: weir ca rotate" in weir("check", *at, code=2)
    assert "first run" in weir("ca", "rotate", "--finish", code=1)
    second = weir("ca", "rotate", *at).splitlines()[0]
    assert "--finish, or replace it with --force" in weir("ca", "rotate", *at, code=1)  # callers may trust it already
    second = weir("ca", "rotate", *at, "--force").splitlines()[0]
    assert weir("ca", "export").count("BEGIN CERTIFICATE") == 2
    weir("ca", "rotate", "--finish")
    shown = weir("ca", "show", "--json")
    assert second in shown and first not in shown and "other.example" in shown
    weir("check", *at)
    assert f"NODE_EXTRA_CA_CERTS={home}/ca/ca.pem" in weir("ca", "trust", "node")
    assert "/etc/weir.pem" in weir("ca", "trust", "--file", "/etc/weir.pem")
    assert "is not one of curl" in weir("ca", "trust", "cobol", code=2)
