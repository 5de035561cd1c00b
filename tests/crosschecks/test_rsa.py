"""RSA against OpenSSL's command line: key pairs, signatures (PKCS #1 v1.5 and PSS) and encryption (OAEP), both ways."""

import hashlib
from collections.abc import Callable

import pytest

from strongroom.errors import KMSInvalidSignature
from tests.crosschecks.keys import decryption_key, encryption_key, key_pair, signing_key, verifying_key
from tests.crosschecks.openssl import OpensslKeyPair, Refused

OpensslKeyPairs = Callable[[str], OpensslKeyPair]

MESSAGE = b"a message of some length"

_PKCS1 = ("-pkeyopt", "rsa_padding_mode:pkcs1")
_PSS = ("-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest")
_OAEP = ("-pkeyopt", "rsa_padding_mode:oaep")
SIGNING_ALGORITHMS = {
    "RSASSA_PKCS1_V1_5_SHA_256": (*_PKCS1, "-digest", "sha256"),
    "RSASSA_PKCS1_V1_5_SHA_384": (*_PKCS1, "-digest", "sha384"),
    "RSASSA_PKCS1_V1_5_SHA_512": (*_PKCS1, "-digest", "sha512"),
    "RSASSA_PSS_SHA_256": (*_PSS, "-digest", "sha256"),
    "RSASSA_PSS_SHA_384": (*_PSS, "-digest", "sha384"),
    "RSASSA_PSS_SHA_512": (*_PSS, "-digest", "sha512"),
}
ENCRYPTION_ALGORITHMS = {
    "RSAES_OAEP_SHA_1": (*_OAEP, "-pkeyopt", "rsa_oaep_md:sha1", "-pkeyopt", "rsa_mgf1_md:sha1"),
    "RSAES_OAEP_SHA_256": (*_OAEP, "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256"),
}
LONGEST_PLAINTEXTS = {
    ("RSA_2048", "RSAES_OAEP_SHA_1"): 214,
    ("RSA_2048", "RSAES_OAEP_SHA_256"): 190,
    ("RSA_3072", "RSAES_OAEP_SHA_1"): 342,
    ("RSA_3072", "RSAES_OAEP_SHA_256"): 318,
    ("RSA_4096", "RSAES_OAEP_SHA_1"): 470,
    ("RSA_4096", "RSAES_OAEP_SHA_256"): 446,
}

each_key_spec = pytest.mark.parametrize("key_spec", ["RSA_2048", "RSA_3072", "RSA_4096"])
each_signing_algorithm = pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
each_message_type = pytest.mark.parametrize("message_type", ["RAW", "DIGEST"])
each_encryption_algorithm = pytest.mark.parametrize("algorithm", ENCRYPTION_ALGORITHMS)
each_plaintext = pytest.mark.parametrize("longest", [False, True], ids=["a zero byte", "the longest"])


def to_sign(algorithm: str, message_type: str) -> bytes:
    return MESSAGE if message_type == "RAW" else hashlib.new(f"sha{algorithm[-3:]}", MESSAGE).digest()


def plaintext(key_spec: str, algorithm: str, *, longest: bool) -> bytes:
    return b"\x00" * (LONGEST_PLAINTEXTS[key_spec, algorithm] if longest else 1)


@each_key_spec
def test_the_private_key_is_sound(key_spec: str, openssl_key_pair: OpensslKeyPairs) -> None:
    described = openssl_key_pair(key_spec).check()
    assert described.startswith("Key is valid\n")
    assert f"Private-Key: ({key_spec.removeprefix('RSA_')} bit, 2 primes)\n" in described
    assert "publicExponent: 65537 (0x10001)\n" in described


@each_key_spec
def test_the_public_key_is_that_of_the_private_key(key_spec: str, openssl_key_pair: OpensslKeyPairs) -> None:
    theirs = openssl_key_pair(key_spec)
    assert theirs.public_of_private() == theirs.public_again() == key_pair(key_spec).public


@each_key_spec
@each_signing_algorithm
@each_message_type
def test_openssl_verifies_what_we_sign(
    key_spec: str, algorithm: str, message_type: str, openssl_key_pair: OpensslKeyPairs
) -> None:
    signature = signing_key(key_spec).sign(algorithm, message_type, to_sign(algorithm, message_type))
    openssl_key_pair(key_spec).verify(MESSAGE, signature, *SIGNING_ALGORITHMS[algorithm])


@each_key_spec
@each_signing_algorithm
def test_we_verify_what_openssl_signs(key_spec: str, algorithm: str, openssl_key_pair: OpensslKeyPairs) -> None:
    signature = openssl_key_pair(key_spec).sign(MESSAGE, *SIGNING_ALGORITHMS[algorithm])
    for message_type in ("RAW", "DIGEST"):
        verifying_key(key_spec).verify(algorithm, message_type, to_sign(algorithm, message_type), signature)


@each_signing_algorithm
def test_neither_verifies_a_signature_of_another_message(algorithm: str, openssl_key_pair: OpensslKeyPairs) -> None:
    theirs, options = openssl_key_pair("RSA_2048"), SIGNING_ALGORITHMS[algorithm]
    with pytest.raises(Refused, match="Signature Verification Failure"):
        theirs.verify(MESSAGE, signing_key("RSA_2048").sign(algorithm, "RAW", b"another"), *options)
    with pytest.raises(KMSInvalidSignature):
        verifying_key("RSA_2048").verify(algorithm, "RAW", MESSAGE, theirs.sign(b"another", *options))


@pytest.mark.parametrize("salt_length", ["0", "20", "31", "33", "max"])
def test_we_refuse_what_openssl_signs_with_a_salt_of_another_length(
    salt_length: str, openssl_key_pair: OpensslKeyPairs
) -> None:
    options = ("-digest", "sha256", "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", f"rsa_pss_saltlen:{salt_length}")
    signature = openssl_key_pair("RSA_2048").sign(MESSAGE, *options)
    with pytest.raises(KMSInvalidSignature):
        verifying_key("RSA_2048").verify("RSASSA_PSS_SHA_256", "RAW", MESSAGE, signature)


@each_key_spec
@each_encryption_algorithm
@each_plaintext
def test_openssl_decrypts_what_we_encrypt(
    key_spec: str, algorithm: str, *, longest: bool, openssl_key_pair: OpensslKeyPairs
) -> None:
    secret = plaintext(key_spec, algorithm, longest=longest)
    ciphertext = encryption_key(key_spec).encrypt(algorithm, secret)
    assert openssl_key_pair(key_spec).decrypt(ciphertext, *ENCRYPTION_ALGORITHMS[algorithm]) == secret


@each_key_spec
@each_encryption_algorithm
@each_plaintext
def test_we_decrypt_what_openssl_encrypts(
    key_spec: str, algorithm: str, *, longest: bool, openssl_key_pair: OpensslKeyPairs
) -> None:
    secret = plaintext(key_spec, algorithm, longest=longest)
    ciphertext = openssl_key_pair(key_spec).encrypt(secret, *ENCRYPTION_ALGORITHMS[algorithm])
    assert decryption_key(key_spec).decrypt(algorithm, ciphertext) == secret
