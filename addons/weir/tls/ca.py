"""The gateway's own certificate authority, which signs certificates for intercepted TLS.

Name constraints (RFC 5280, 4.2.1.10) limit it to the hosts of the connections: with a stolen key, an attacker can
impersonate only the services behind this gateway, and only to its callers. The files ``ca.pem`` and ``ca.key`` are in
``WEIR_HOME/ca``. During a replacement, the next authority is beside them as ``next.pem`` and ``next.key``, so that
callers can trust it before it is used.
"""

import datetime
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weir.base.addresses import literal
from weir.base.home import HomeError, home

#: Default validity of an authority, in days.
DAYS = 365
_FOLDER = "ca"
_CURRENT, _NEXT = "ca", "next"
_EVERYTHING: tuple[IPv4Network | IPv6Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A certificate authority and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate in PEM, for callers to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 fingerprint."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that it may sign for."""
        constraints = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        found = []
        for name in constraints.permitted_subtrees or ():
            value = name.value
            found.append(str(value.network_address if isinstance(value, IPv4Network | IPv6Network) else value))
        return tuple(found)

    def covers(self, host: str) -> bool:
        """True if callers accept its certificates for *host*."""
        if literal(host) is not None:
            return host in self.hosts
        return any(host == own or host.endswith(f".{own}") for own in self.hosts if literal(own) is None)


def make(hosts: Iterable[str], days: int = DAYS) -> Authority:
    """Create an authority for *hosts* and the names below them, valid for *days*."""
    names, networks = [], []
    for host in dict.fromkeys(hosts):
        address = literal(host)
        if address is None:
            names.append(x509.DNSName(host))
        else:
            networks.append(x509.IPAddress(ip_network(address)))
    # A kind of name without any constraint would be unconstrained, so exclude it completely.
    covered = {type(network.value) for network in networks}
    excluded: list[x509.GeneralName] = [x509.IPAddress(n) for n in _EVERYTHING if type(n) not in covered]
    if not names:
        excluded.append(x509.DNSName(""))
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Weir gateway"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Weir CA {now:%Y-%m-%d} {secrets.token_hex(3)}"),
        ]
    )
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.NameConstraints([*names, *networks] or None, excluded or None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def folder() -> Path:
    """Return the folder of the authorities."""
    return home() / _FOLDER


def certificate_path(*, following: bool = False) -> Path:
    """Return the path of the certificate that callers must trust."""
    return folder() / f"{_NEXT if following else _CURRENT}.pem"


def current() -> Authority | None:
    """Return the authority in use; None if none exists. Raises `HomeError`."""
    return _read(_CURRENT)


def following() -> Authority | None:
    """Return the next authority; None if none exists. Raises `HomeError`."""
    return _read(_NEXT)


def save(authority: Authority, *, following: bool = False) -> None:
    """Store *authority* as the one in use or, if *following*, as the next one. Raises `HomeError`."""
    name = _NEXT if following else _CURRENT
    pem = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        folder().mkdir(mode=0o700, exist_ok=True)
        _write(folder() / f"{name}.key", pem, 0o600)
        _write(folder() / f"{name}.pem", authority.pem, 0o644)
    except OSError as error:
        raise HomeError(f"{folder()}: cannot be written ({error.strerror}); check its owner") from None


def follow() -> None:
    """Replace the authority in use by the next one. Raises `HomeError`."""
    path = folder()
    try:
        for kind in ("key", "pem"):
            os.replace(path / f"{_NEXT}.{kind}", path / f"{_CURRENT}.{kind}")
    except OSError as error:
        raise HomeError(f"{path}: cannot be changed ({error.strerror}); check its owner") from None


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _read(name: str) -> Authority | None:
    path = folder() / f"{name}.pem"
    key_path = path.with_suffix(".key")
    try:
        if not path.exists():
            return None
        if key_path.stat().st_mode & 0o077:
            raise HomeError(f"{key_path}: other users can read it; run: chmod 600 {key_path}")
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    except HomeError:
        raise
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or "it is not in PEM format"
        raise HomeError(f"{path}: cannot be used ({reason}); run: weir ca create --force") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise HomeError(f"{key_path}: is not the key of {path.name}; run: weir ca create --force")
    return Authority(certificate, key)
