"""Authorities for client certificates: an unusable one is reported at load, before the first caller comes."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.end_to_end.certificates import Authority

from weir.auth.certificates import compile_certificates
from weir.base.mistakes import SettingError
from weir.config.model import CertificateIssuerSettings


def self_signed(folder: Path, *, ca: bool) -> Path:
    """Create what ``openssl req -x509`` makes by default: a certificate without key usage."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "people")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )  # fmt: skip
    path = folder / "people.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_an_authority_that_no_verifier_takes_is_refused(tmp_path: Path) -> None:
    good = CertificateIssuerSettings.model_validate({"ca": str(Authority(tmp_path).path)})
    assert len(compile_certificates(good, tmp_path).authorities) == 1
    for ca in (True, False):
        settings = CertificateIssuerSettings.model_validate({"ca": str(self_signed(tmp_path, ca=ca))})
        with pytest.raises(SettingError, match="keyUsage=critical,keyCertSign") as refused:
            compile_certificates(settings, tmp_path)
        assert ("CA:TRUE" in str(refused.value)) is not ca
