"""Elliptic curves: key pairs, ECDSA, Ed25519 and ECDH against OpenSSL's command line; Ed25519ph against pycryptodome.

OpenSSL 3.0 does not know Ed25519ph. What we use for it is libsodium.
"""

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from Crypto.Hash import SHA512
from Crypto.PublicKey import ECC
from Crypto.Signature import eddsa

from strongroom.crypto.key_pairs import generate_key_pair, load_agreement_key
from strongroom.errors import KMSInvalidSignature
from tests.crosschecks.keys import key_pair, signing_key, verifying_key
from tests.crosschecks.openssl import OpensslKeyPair, Refused, openssl

OpensslKeyPairs = Callable[[str], OpensslKeyPair]

MESSAGE = b"a message of some length"
EDWARDS = "ECC_NIST_EDWARDS25519"

CURVES = {
    "ECC_NIST_P256": "prime256v1",
    "ECC_NIST_P384": "secp384r1",
    "ECC_NIST_P521": "secp521r1",
    "ECC_SECG_P256K1": "secp256k1",
}
"""What OpenSSL calls the curve of a key spec."""
SIGNATURES = {
    "ECC_NIST_P256": ("ECDSA_SHA_256", "sha256"),
    "ECC_NIST_P384": ("ECDSA_SHA_384", "sha384"),
    "ECC_NIST_P521": ("ECDSA_SHA_512", "sha512"),
    "ECC_SECG_P256K1": ("ECDSA_SHA_256", "sha256"),
}
"""The signing algorithm of a key spec, and what OpenSSL calls its digest."""

each_key_spec = pytest.mark.parametrize("key_spec", [*CURVES, EDWARDS])
each_ecdsa_key_spec = pytest.mark.parametrize("key_spec", CURVES)
each_agreement_key_spec = pytest.mark.parametrize("key_spec", ["ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"])
each_message_type = pytest.mark.parametrize("message_type", ["RAW", "DIGEST"])


def to_sign(digest: str, message_type: str) -> bytes:
    return MESSAGE if message_type == "RAW" else hashlib.new(digest, MESSAGE).digest()


@each_ecdsa_key_spec
def test_the_private_key_is_sound(key_spec: str, openssl_key_pair: OpensslKeyPairs) -> None:
    described = openssl_key_pair(key_spec).check()
    assert described.startswith("Key is valid\n")
    assert f"ASN1 OID: {CURVES[key_spec]}\n" in described


def test_the_private_key_of_ed25519_is_read(openssl_key_pair: OpensslKeyPairs) -> None:
    assert "ED25519 Private-Key:\n" in openssl_key_pair(EDWARDS).check()


@each_key_spec
def test_the_public_key_is_that_of_the_private_key(key_spec: str, openssl_key_pair: OpensslKeyPairs) -> None:
    theirs = openssl_key_pair(key_spec)
    assert theirs.public_of_private() == theirs.public_again() == key_pair(key_spec).public


@each_ecdsa_key_spec
@each_message_type
def test_openssl_verifies_what_we_sign(key_spec: str, message_type: str, openssl_key_pair: OpensslKeyPairs) -> None:
    algorithm, digest = SIGNATURES[key_spec]
    signature = signing_key(key_spec).sign(algorithm, message_type, to_sign(digest, message_type))
    openssl_key_pair(key_spec).verify(MESSAGE, signature, "-digest", digest)


@each_ecdsa_key_spec
@each_message_type
def test_we_verify_what_openssl_signs(key_spec: str, message_type: str, openssl_key_pair: OpensslKeyPairs) -> None:
    algorithm, digest = SIGNATURES[key_spec]
    signature = openssl_key_pair(key_spec).sign(MESSAGE, "-digest", digest)
    verifying_key(key_spec).verify(algorithm, message_type, to_sign(digest, message_type), signature)


@each_ecdsa_key_spec
def test_neither_verifies_a_signature_of_another_message(key_spec: str, openssl_key_pair: OpensslKeyPairs) -> None:
    theirs, (algorithm, digest) = openssl_key_pair(key_spec), SIGNATURES[key_spec]
    with pytest.raises(Refused, match="Signature Verification Failure"):
        theirs.verify(MESSAGE, signing_key(key_spec).sign(algorithm, "RAW", b"another"), "-digest", digest)
    with pytest.raises(KMSInvalidSignature):
        verifying_key(key_spec).verify(algorithm, "RAW", MESSAGE, theirs.sign(b"another", "-digest", digest))


def test_ed25519_signs_as_openssl(openssl_key_pair: OpensslKeyPairs) -> None:
    theirs = openssl_key_pair(EDWARDS)
    signature = signing_key(EDWARDS).sign("ED25519_SHA_512", "RAW", MESSAGE)
    assert signature == theirs.sign(MESSAGE)
    theirs.verify(MESSAGE, signature)
    verifying_key(EDWARDS).verify("ED25519_SHA_512", "RAW", MESSAGE, signature)


def test_ed25519ph_signs_as_pycryptodome() -> None:
    theirs = eddsa.new(ECC.import_key(key_pair(EDWARDS).private), "rfc8032")
    signature = signing_key(EDWARDS).sign("ED25519_PH_SHA_512", "DIGEST", MESSAGE)
    assert signature == theirs.sign(SHA512.new(MESSAGE))
    verifying_key(EDWARDS).verify("ED25519_PH_SHA_512", "DIGEST", MESSAGE, signature)


def test_pycryptodome_verifies_our_ed25519ph() -> None:
    theirs = eddsa.new(ECC.import_key(key_pair(EDWARDS).public), "rfc8032")
    signature = signing_key(EDWARDS).sign("ED25519_PH_SHA_512", "DIGEST", MESSAGE)
    theirs.verify(SHA512.new(MESSAGE), signature)
    with pytest.raises(ValueError, match="not authentic"):
        theirs.verify(SHA512.new(b"another"), signature)
    with pytest.raises(ValueError, match="not authentic"):
        theirs.verify(MESSAGE, signature)


def test_ed25519_and_ed25519ph_do_not_verify_each_other() -> None:
    theirs = eddsa.new(ECC.import_key(key_pair(EDWARDS).private), "rfc8032")
    digest = hashlib.sha512(MESSAGE).digest()
    for message, signature in ((MESSAGE, theirs.sign(MESSAGE)), (MESSAGE, theirs.sign(digest))):
        with pytest.raises(KMSInvalidSignature):
            verifying_key(EDWARDS).verify("ED25519_PH_SHA_512", "DIGEST", message, signature)
    for message in (MESSAGE, digest):
        with pytest.raises(KMSInvalidSignature):
            verifying_key(EDWARDS).verify("ED25519_SHA_512", "RAW", message, theirs.sign(SHA512.new(MESSAGE)))


@each_agreement_key_spec
def test_we_agree_with_openssl_on_a_secret(key_spec: str, openssl_key_pair: OpensslKeyPairs, tmp_path: Path) -> None:
    peer = tmp_path / "peer.der"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"group:{CURVES[key_spec]}", "-out", tmp_path / "private.pem")
    openssl("pkey", "-in", tmp_path / "private.pem", "-pubout", "-outform", "DER", "-out", peer)
    secret = load_agreement_key(key_spec, key_pair(key_spec).private).shared_secret(peer.read_bytes())
    assert secret == openssl_key_pair(key_spec).derive(peer)


@pytest.mark.parametrize(("key_spec", "length"), [("ECC_NIST_P256", 32), ("ECC_NIST_P384", 48), ("ECC_NIST_P521", 66)])
def test_we_agree_on_a_secret_that_begins_with_a_zero_byte(
    key_spec: str, length: int, openssl_key_pair: OpensslKeyPairs, tmp_path: Path
) -> None:
    key = load_agreement_key(key_spec, key_pair(key_spec).private)
    peers = (generate_key_pair(key_spec).public for _ in count())
    secrets = ((key.shared_secret(peer), peer) for peer in peers)
    secret, peer = next((secret, peer) for secret, peer in secrets if int.from_bytes(secret) < 256 ** (length - 1))
    (tmp_path / "peer.der").write_bytes(peer)
    assert secret == openssl_key_pair(key_spec).derive(tmp_path / "peer.der")
    assert len(secret) == length
