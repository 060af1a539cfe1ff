"""TLS to a service. It is always verified; a connection may set its own authorities and client certificate."""

import functools
import hashlib
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509
from OpenSSL import SSL, crypto

from weir.base.mistakes import SettingError
from weir.config.model import UpstreamTlsSettings
from weir.tls.files import present, read_certificates, read_file, read_pair


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """The TLS settings for one service. Two are equal if their files are equal."""

    made_of: str
    context: SSL.Context = field(compare=False, repr=False)


def compile_upstream_tls(settings: UpstreamTlsSettings | None, folder: Path) -> UpstreamTls | None:
    """Compile a connection's TLS; None without settings. Paths are relative to *folder*. Raises `SettingError`."""
    if settings is None:
        return None
    digest = hashlib.sha256()
    authorities: list[x509.Certificate] = []
    if settings.ca is not None:
        pem = read_file(folder, settings.ca, "ca")
        digest.update(pem)
        authorities = read_certificates(pem, settings.ca, "ca")
    context = _context(tuple(authorities))
    if (settings.certificate is None) != (settings.key is None):
        raise SettingError("a client certificate needs both `certificate` and `key`")
    if settings.certificate is not None and settings.key is not None:
        chain, key, content = read_pair(folder, settings.certificate, settings.key)
        digest.update(content)
        present(context, chain, key)
    return UpstreamTls(digest.hexdigest(), context)


def upstream_connection(tls: UpstreamTls | None, host: str, protocols: tuple[bytes, ...]) -> SSL.Connection:
    """Create a TLS connection that verifies *host*; *protocols* are offered by ALPN."""
    connection = SSL.Connection(tls.context if tls is not None else _usual())
    try:
        address = ip_address(host).packed
    except ValueError:
        name = host.encode("idna")
        connection.set_tlsext_host_name(name)
        _verify(connection, name=name)
    else:
        _verify(connection, address=address)
    if protocols:
        connection.set_alpn_protos(list(protocols))
    connection.set_connect_state()
    return connection


def _verify(connection: SSL.Connection, name: bytes = b"", address: bytes = b"") -> None:
    """Set the name or address that the certificate must have. pyOpenSSL has no call for this, so use OpenSSL's."""
    lib: Any = getattr(SSL, "_lib")  # noqa: B009  # not exported
    parameters = lib.SSL_get0_param(connection._ssl)
    # Wildcards match one whole label, and the common name is ignored (RFC 9525, 6.3).
    flags = lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
    lib.X509_VERIFY_PARAM_set_hostflags(parameters, flags)
    if name:
        done = lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    else:
        done = lib.X509_VERIFY_PARAM_set1_ip(parameters, address, len(address))
    if done != 1:
        raise ssl.SSLError("OpenSSL does not accept the name to verify")


@functools.cache
def _usual() -> SSL.Context:
    """Return the shared context for connections without their own authorities; it trusts certifi's."""
    return _context(())


def _context(authorities: tuple[x509.Certificate, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_verify(SSL.VERIFY_PEER)
    if not authorities:
        context.load_verify_locations(certifi.where())
    store = context.get_cert_store()
    assert store is not None
    for certificate in authorities:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    return context
