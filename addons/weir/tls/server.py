"""TLS with callers: a listener's own certificate, or one signed by our authority for the service that they call."""

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

from weir.base.addresses import literal
from weir.config.model import ListenerTlsSettings
from weir.tls.ca import Authority
from weir.tls.files import present, read_pair

#: Validity of a certificate for a service, and the time before its expiry at which it is replaced.
LEAF = datetime.timedelta(days=7)
LEAF_AHEAD = datetime.timedelta(days=2)

#: No common name: for a host that is an address, clients would check it against the CA's name constraints.
_SUBJECT = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Weir gateway")])


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """TLS of one listener. Two are equal if their certificates and keys are equal."""

    made_of: str
    context: SSL.Context = field(compare=False, repr=False)
    certificate: Path = field(compare=False)
    key: Path = field(compare=False)


def compile_listener_tls(settings: ListenerTlsSettings, folder: Path, *, asks: bool, http2: bool) -> ListenerTls:
    """Compile a listener's TLS from files relative to *folder*. Raises `SettingError`."""
    chain, key, content = read_pair(folder, settings.certificate, settings.key)
    context = server_context(asks=asks or settings.client_certificates, http2=http2)
    present(context, chain, key)
    files = folder / settings.certificate, folder / settings.key
    return ListenerTls(hashlib.sha256(content).hexdigest(), context, *files)


class Leaves:
    """TLS contexts with certificates for services, signed by *authority* when they are first needed."""

    def __init__(
        self, authority: Authority, clock: Callable[[], datetime.datetime] | None = None, *, asks: bool = False
    ) -> None:
        """If *asks*, the contexts request client certificates."""
        self._authority = authority
        self._asks = asks
        self._clock = clock or (lambda: datetime.datetime.now(datetime.UTC))
        self._key = ec.generate_private_key(ec.SECP256R1())  # exists only in this process's memory
        self._made: dict[str, tuple[SSL.Context, datetime.datetime]] = {}

    def context(self, host: str) -> SSL.Context:
        """Return a context with a certificate for *host*."""
        now = self._clock()
        made = self._made.get(host)
        if made is None or now >= made[1]:
            certificate = self._sign(host, now)
            context = server_context(asks=self._asks)
            present(context, [certificate, self._authority.certificate], self._key)
            made = self._made[host] = (context, certificate.not_valid_after_utc - LEAF_AHEAD)
        return made[0]

    def _sign(self, host: str, now: datetime.datetime) -> x509.Certificate:
        address = literal(host)
        name: x509.GeneralName = x509.DNSName(host) if address is None else x509.IPAddress(address)
        ca = self._authority
        until = min(now + LEAF, ca.certificate.not_valid_after_utc)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(_SUBJECT)
            .issuer_name(ca.certificate.subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - datetime.timedelta(hours=1), ca.certificate.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
            .sign(ca.key, hashes.SHA256())
        )


def server_context(*, asks: bool = False, http2: bool = True) -> SSL.Context:
    """Create a context for callers, without a certificate yet. If it *asks* for client certificates, it accepts any.

    `weir.auth.certificates` verifies them for each request, because a refused request can state the reason.
    """
    protocols = (b"h2", b"http/1.1") if http2 else (b"http/1.1",)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if asks:
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.set_options(SSL.OP_NO_TICKET)  # a resumed session would bring the certificate of another handshake
    context.set_alpn_select_callback(
        lambda _, offered: next((p for p in protocols if p in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
    )
    return context
