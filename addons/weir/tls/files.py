"""Read the operator's certificates and keys from PEM files."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL

from weir.base.mistakes import SettingError


def read_file(folder: Path, name: str, *location: str) -> bytes:
    """Return the content of *name* in *folder*. Raises `SettingError` at *location*."""
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise SettingError(
            f"{name} cannot be read ({error.strerror}); check the path and its owner", *location
        ) from None


def read_certificates(pem: bytes, name: str, *location: str) -> list[x509.Certificate]:
    """Parse the certificates of the file *name*, at least one. Raises `SettingError` at *location*."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise SettingError(f"{name} has no certificate in PEM format", *location) from None


def read_pair(folder: Path, certificate: str, key: str) -> tuple[list[x509.Certificate], PrivateKeyTypes, bytes]:
    """Return a chain (leaf certificate first), its key, and the bytes of both files. Raises `SettingError`."""
    chain_pem, key_pem = read_file(folder, certificate, "certificate"), read_file(folder, key, "key")
    chain = read_certificates(chain_pem, certificate, "certificate")
    try:
        private = serialization.load_pem_private_key(key_pem, None)
    except (ValueError, TypeError) as error:
        reason = "it is encrypted" if isinstance(error, TypeError) else "it is not a private key in PEM format"
        raise SettingError(f"{key}: {reason}; use a key in PEM format without a passphrase", "key") from None
    if private.public_key() != chain[0].public_key():
        raise SettingError(f"{key} is not the key of {certificate}", "key")
    return chain, private, chain_pem + key_pem


def present(context: SSL.Context, chain: list[x509.Certificate], key: PrivateKeyTypes) -> None:
    """Configure *context* to present *chain*."""
    context.use_certificate(chain[0])
    for certificate in chain[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(key)  # type: ignore[arg-type]
