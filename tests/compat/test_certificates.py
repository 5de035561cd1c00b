"""Certificates and requests for them that cryptography makes with KMS keys as its private keys are valid to OpenSSL."""

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import NameOID

TODAY = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class KmsKey:
    """A private key that stays with the server."""

    def __init__(self, kms: Any, spec: str) -> None:
        self._kms = kms
        self._arn: str = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]

    def public_key(self) -> PublicKeyTypes:
        return load_der_public_key(self._kms.get_public_key(KeyId=self._arn)["PublicKey"])

    def signed(self, data: bytes, algorithm: str) -> bytes:
        signature: bytes = self._kms.sign(KeyId=self._arn, Message=data, SigningAlgorithm=algorithm)["Signature"]
        return signature


@rsa.RSAPrivateKey.register
class RsaKey(KmsKey):
    """cryptography tells its kinds of private keys by their classes, and calls `sign`."""

    def sign(self, data: bytes, scheme: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> bytes:
        name = {"EMSA-PKCS1-v1_5": "RSASSA_PKCS1_V1_5", "EMSA-PSS": "RSASSA_PSS"}[scheme.name]
        return self.signed(data, f"{name}_SHA_{digest.digest_size * 8}")


@ec.EllipticCurvePrivateKey.register
class EcdsaKey(KmsKey):
    def sign(self, data: bytes, scheme: ec.ECDSA) -> bytes:
        assert isinstance(scheme.algorithm, hashes.HashAlgorithm)
        return self.signed(data, f"ECDSA_SHA_{scheme.algorithm.digest_size * 8}")


@ed25519.Ed25519PrivateKey.register
class EdwardsKey(KmsKey):
    def sign(self, data: bytes) -> bytes:
        return self.signed(data, "ED25519_SHA_512")


KINDS: dict[str, tuple[type[KmsKey], str, dict[str, Any]]] = {
    "RSA": (RsaKey, "RSA_2048", {"algorithm": hashes.SHA256()}),
    "RSA, PSS": (
        RsaKey,
        "RSA_2048",
        {"algorithm": hashes.SHA384(), "rsa_padding": padding.PSS(padding.MGF1(hashes.SHA384()), 48)},
    ),
    "P-256": (EcdsaKey, "ECC_NIST_P256", {"algorithm": hashes.SHA256()}),
    "P-384": (EcdsaKey, "ECC_NIST_P384", {"algorithm": hashes.SHA384()}),
    "P-521": (EcdsaKey, "ECC_NIST_P521", {"algorithm": hashes.SHA512()}),
    "Ed25519": (EdwardsKey, "ECC_NIST_EDWARDS25519", {"algorithm": None}),
}
"""Kind -> its class here, its key spec, and how cryptography is told to sign with it."""


@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_signs_what_it_is_requested_to(kms: Any, tmp_path: Path, kind: str) -> None:
    make, spec, how = KINDS[kind]
    authority, owner = make(kms, spec), make(kms, spec)
    root = certificate("Authority", authority.public_key(), authority).sign(key_of(authority), **how)
    request = x509.CertificateSigningRequestBuilder().subject_name(named("shop")).sign(key_of(owner), **how)
    issued = certificate("shop", request.public_key(), authority).sign(key_of(authority), **how)
    for name, made in (("root", root), ("request", request), ("issued", issued)):
        (tmp_path / name).write_bytes(made.public_bytes(Encoding.PEM))
    impostor = make(kms, spec)
    forged = certificate("shop", request.public_key(), authority).sign(key_of(impostor), **how)
    (tmp_path / "forged").write_bytes(forged.public_bytes(Encoding.PEM))

    checked = openssl(tmp_path, "req", "-in", "request", "-verify", "-noout", "-subject")
    assert "verify OK" in checked.stderr
    assert checked.stdout.endswith("shop\n")
    verify = ("verify", "-x509_strict", "-check_ss_sig", "-CAfile", "root")
    assert openssl(tmp_path, *verify, "root", "issued").stdout == "root: OK\nissued: OK\n"
    refused = openssl(tmp_path, *verify, "forged")
    assert refused.returncode != 0
    assert "certificate signature failure" in refused.stderr


def test_an_altered_request_is_refused(kms: Any, tmp_path: Path) -> None:
    owner = EcdsaKey(kms, "ECC_NIST_P256")
    request = x509.CertificateSigningRequestBuilder().subject_name(named("shop")).sign(key_of(owner), hashes.SHA256())
    (tmp_path / "altered").write_bytes(request.public_bytes(Encoding.DER).replace(b"shop", b"bank"))

    checked = openssl(tmp_path, "req", "-inform", "DER", "-in", "altered", "-verify", "-noout")
    assert "verify OK" not in checked.stderr
    assert "verify failure" in checked.stderr


def key_of(key: KmsKey) -> Any:
    """The key as cryptography takes it: that it was registered as a private key is beyond the type checker."""
    return key


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(subject: str, public_key: Any, authority: KmsKey) -> x509.CertificateBuilder:
    """A certificate to be signed by the authority, for itself or for another."""
    issuer: Any = authority.public_key()
    for_itself = public_key == issuer
    usage = x509.KeyUsage(
        digital_signature=not for_itself,
        key_cert_sign=for_itself,
        crl_sign=for_itself,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named("Authority"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(TODAY)
        .not_valid_after(TODAY + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=for_itself, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )


def openssl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
