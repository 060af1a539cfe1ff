"""Identify callers by their client certificate or, as a weaker identity, by their network address. Pure.

mitmproxy asks for certificates and verifies only that the caller holds the private key. This module verifies chain,
purpose and dates for each request, so an expired certificate loses access even on a connection that stays open.
"""

import base64
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from weir.auth.issuer import compile_subject
from weir.auth.jws import TokenError
from weir.base.addresses import Network
from weir.base.mistakes import SettingError
from weir.base.principal import CERTIFICATE_BOUND, Principal
from weir.config.model import CertificateIssuerSettings, NetworkIssuerSettings
from weir.tls.files import read_certificates, read_file

#: Seconds that a verified chain is cached. The dates of its certificates are still checked for each request.
REMEMBERED = 60.0
_MOST_REMEMBERED = 1024
_LONGEST = 512


def thumbprint(certificate: x509.Certificate) -> str:
    """Return the thumbprint that names *certificate* in a token bound to it (RFC 8705, 3.1)."""
    digest = certificate.fingerprint(hashes.SHA256())
    return CERTIFICATE_BOUND + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class CertificateIssuer:
    """Trusted authorities, and the rules that turn a certificate's name into a principal."""

    name: str
    authorities: Sequence[x509.Certificate]
    kinds: tuple[str, ...]
    subjects: tuple[re.Pattern[str], ...]
    groups: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]
    add_groups: tuple[str, ...]

    @property
    def iss(self) -> str:
        """The ``iss`` of this issuer's principals."""
        return f"mtls:{self.name}"

    def principal(self, chain: Sequence[x509.Certificate], now: float) -> Principal:
        """Return the holder of *chain* (leaf certificate first) at Unix time *now*. Raises `TokenError`."""
        leaf = chain[0]
        _check_use(leaf)
        verifier = PolicyBuilder().store(Store(list(self.authorities))).time(datetime.fromtimestamp(now, UTC))
        try:
            verified = verifier.build_client_verifier().verify(leaf, list(chain[1:]))
        except (VerificationError, ValueError) as error:
            reason = str(error).partition("(")[0].strip()[:200]
            raise TokenError(f"issuer {self.name!r} does not accept the client certificate: {reason}") from None
        subject = _subject(leaf, self.kinds)
        if self.subjects and not any(pattern.fullmatch(subject) for pattern in self.subjects):
            raise TokenError("the name in the client certificate is not trusted here")
        groups = {g for pattern, names in self.groups if pattern.fullmatch(subject) for g in names}
        until = min(certificate.not_valid_after_utc.timestamp() for certificate in verified.chain)
        return Principal(
            self.name,
            self.iss,
            subject,
            frozenset(f"{self.name}/{group}" for group in (*groups, *self.add_groups)),
            expires=until,
            issued=leaf.not_valid_before_utc.timestamp(),
            token_id=leaf.fingerprint(hashes.SHA256()).hex(),
        )


@dataclass(frozen=True, slots=True)
class NetworkIssuer:
    """Networks that identify callers by their source address alone."""

    name: str
    sources: tuple[Network, ...]
    add_groups: tuple[str, ...]

    @property
    def iss(self) -> str:
        """The ``iss`` of this issuer's principals."""
        return f"network:{self.name}"

    def principal(self, address: str) -> Principal | None:
        """Return the principal for *address*; None if the address is outside these networks."""
        try:
            here = ip_address(address.partition("%")[0])
        except ValueError:
            return None
        if not any(here in network for network in self.sources):
            return None
        groups = frozenset(f"{self.name}/{group}" for group in self.add_groups)
        return Principal(self.name, self.iss, str(here), groups, expires=float("inf"))


class Presenters:
    """All issuers that identify callers without a token."""

    def __init__(self, certificates: Sequence[CertificateIssuer] = (), networks: Sequence[NetworkIssuer] = ()) -> None:
        self.certificates = tuple(certificates)
        self.networks = tuple(networks)
        self._remembered: dict[bytes, tuple[Principal, float]] = {}

    def holder(self, chain: Sequence[x509.Certificate], now: float) -> Principal:
        """Return the holder of *chain* at Unix time *now*. Raises `TokenError`."""
        fingerprint = b"".join(certificate.fingerprint(hashes.SHA256()) for certificate in chain)
        remembered = self._remembered.get(fingerprint)
        if remembered is not None and 0 <= now - remembered[1] < REMEMBERED and now < remembered[0].expires:
            return remembered[0]
        reasons = []
        for issuer in self.certificates:
            try:
                principal = issuer.principal(chain, now)
            except TokenError as error:
                reasons.append(str(error))
                continue
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[fingerprint] = (principal, now)
            return principal
        raise TokenError("; ".join(reasons) or "client certificates are not accepted here")

    def neighbour(self, address: str) -> Principal | None:
        """Return the principal for *address*; None if no network issuer covers it."""
        return next((p for issuer in self.networks if (p := issuer.principal(address)) is not None), None)


def _check_use(leaf: x509.Certificate) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        raise TokenError("the client certificate lacks the extended key usage clientAuth") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise TokenError("the client certificate is not for clients: its extended key usage lacks clientAuth")


def _subject(leaf: x509.Certificate, kinds: tuple[str, ...]) -> str:
    """Return ``spiffe://…``, ``dns:…`` or ``email:…``. The prefix keeps a pattern for one kind from matching another.

    Raises `TokenError` if the certificate has no name of these kinds, or several of the first kind that it has.
    """
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        raise TokenError("the client certificate has no subject alternative name") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = {
        "spiffe": [uri for uri in uris if uri.startswith("spiffe://")],
        "dns": names.get_values_for_type(x509.DNSName),
        "email": names.get_values_for_type(x509.RFC822Name),
    }
    for kind in kinds:
        values = found[kind]
        if len(values) > 1 or (kind == "spiffe" and values and len(uris) > 1):
            raise TokenError(f"the client certificate has several {kind} names; it must have exactly one")
        if values:
            if not 0 < len(values[0]) <= _LONGEST or not values[0].isprintable():
                raise TokenError(f"the client certificate's {kind} name is empty, too long or not printable")
            return values[0] if kind == "spiffe" else f"{kind}:{values[0]}"
    raise TokenError(f"the client certificate has no name of type {' or '.join(kinds)}")


def compile_certificates(settings: CertificateIssuerSettings, folder: Path) -> CertificateIssuer:
    """Compile an issuer of client certificates. Its CA file is relative to *folder*. Raises `SettingError`."""
    authorities = read_certificates(read_file(folder, settings.ca, "ca"), settings.ca, "ca")
    for authority in authorities:
        _check_authority(authority, settings.ca)
    for names in ([], settings.add_groups, *settings.groups.values()):
        _check_groups(names, settings.name)
    return CertificateIssuer(
        settings.name,
        authorities,
        tuple(settings.subject),
        tuple(compile_subject(pattern) for pattern in settings.subjects),
        tuple((compile_subject(pattern), tuple(names)) for pattern, names in settings.groups.items()),
        tuple(settings.add_groups),
    )


def _check_authority(authority: x509.Certificate, file: str) -> None:
    """Check what RFC 5280 and verifiers require of an authority, so a bad CA file fails at load, not at a request."""
    missing = []
    with contextlib.suppress(ValueError):
        extensions = {type(extension.value): extension.value for extension in authority.extensions}
        constraints, usage = extensions.get(x509.BasicConstraints), extensions.get(x509.KeyUsage)
        if not (isinstance(constraints, x509.BasicConstraints) and constraints.ca):
            missing.append("basicConstraints=critical,CA:TRUE")
        if not (isinstance(usage, x509.KeyUsage) and usage.key_cert_sign):
            missing.append("keyUsage=critical,keyCertSign")
    if missing:
        raise SettingError(
            f"{file}: {authority.subject.rfc4514_string() or 'the certificate'} is not usable as an authority; "
            f"create it again with: openssl req -x509 … -addext {' -addext '.join(missing)}",
            "ca",
        )


def compile_network(settings: NetworkIssuerSettings) -> NetworkIssuer:
    """Compile an issuer that trusts networks. Raises `SettingError`."""
    networks = []
    for i, text in enumerate(settings.sources):
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise SettingError(f"{text!r} is not a network: {error}", "sources", i) from None
    _check_groups(settings.add_groups, settings.name)
    return NetworkIssuer(settings.name, tuple(networks), tuple(settings.add_groups))


def _check_groups(groups: Sequence[str], name: str) -> None:
    for group in groups:
        if not group or "/" in group:
            raise SettingError(f"{group!r}: write the group's bare name; it becomes {name}/…", "add_groups")
