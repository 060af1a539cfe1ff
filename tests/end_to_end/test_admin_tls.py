"""Reviewers reach the admin with TLS, and a renewed certificate needs no restart."""

import os
import socket
import ssl
import time
from pathlib import Path

import httpx

from tests.cli.inside import run
from tests.end_to_end.approving import CAROL, Admin, token_of
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import CREDENTIAL, GATEWAY, PATIENCE, free_port, write_policies

ENVIRONMENT = {"TEST_UPSTREAM_KEY": CREDENTIAL}
TLS = """admin:
  listen: {{{{url: "https://127.0.0.1:{port}", tls: {{{{certificate: ../certificates/admin.pem, key: ../certificates/admin.key}}}}}}}}
"""


def serial(port: int, trust: Path) -> int:
    """Return the serial number of the certificate that the admin presents."""
    context = ssl.create_default_context(cafile=str(trust))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
        return int(str((secure.getpeercert() or {})["serialNumber"]), 16)


def test_reviewers_use_tls(tmp_path: Path) -> None:
    port = free_port()
    write_policies(tmp_path, free_port(), 1, gateway=GATEWAY + TLS.format(port=port))
    files, authority = tmp_path / "certificates", Authority(tmp_path)
    files.mkdir()

    def present() -> int:
        issued = authority.issue("127.0.0.1")
        for name, source in (("admin.pem", issued.certificate), ("admin.key", issued.key)):
            (files / name).write_bytes(source.read_bytes())
        return issued.x509.serial_number

    first = present()
    assert not [line for line in run(tmp_path, "check", environment=ENVIRONMENT).stdout.splitlines() if "8081" in line]
    admin = Admin(tmp_path, port)
    admin.begin()
    try:
        deadline = time.monotonic() + PATIENCE
        while not any("admin on https://" in line for line in admin.log):
            assert time.monotonic() < deadline and admin.process and admin.process.poll() is None, admin.log
            time.sleep(0.05)
        while True:
            try:
                assert serial(port, authority.path) == first
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        trust = ssl.create_default_context(cafile=str(authority.path))
        headers = {"Authorization": f"Bearer {token_of(*CAROL)}"}
        listed = httpx.get(f"https://127.0.0.1:{port}/v1/approvals", headers=headers, verify=trust)
        assert listed.status_code == 200 and isinstance(listed.json()["approvals"], list)
        try:
            plain = httpx.get(f"http://127.0.0.1:{port}/v1/approvals", headers=headers).status_code
        except httpx.HTTPError:
            plain = 0
        assert plain in (0, 400)

        second = present()
        deadline = time.monotonic() + PATIENCE
        while serial(port, authority.path) != second:
            assert time.monotonic() < deadline, admin.log
            time.sleep(0.1)
        shown = run(
            tmp_path, "approvals", "list", "--admin", f"https://127.0.0.1:{port}",
            environment={**os.environ, **ENVIRONMENT, "SSL_CERT_FILE": str(authority.path), "WEIR_TOKEN": token_of(*CAROL)},
        )  # fmt: skip
        assert shown.returncode == 0, shown.stderr
    finally:
        admin.stop()
