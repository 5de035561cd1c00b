"""Private keys that were made elsewhere, whole and bent."""

import random
from math import lcm

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from strongroom.crypto.key_pairs import generate_key_pair, read_key_pair
from tests.crosschecks.openssl import openssl

SPECS = ("RSA_2048", "ECC_NIST_P256", "ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519")


@pytest.mark.parametrize("spec", SPECS)
def test_a_private_key_is_read_as_it_was_written(spec: str) -> None:
    pair = generate_key_pair(spec)
    assert read_key_pair(spec, pair.private) == pair


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P256", "ECC_NIST_EDWARDS25519"])
def test_bent_private_keys_are_refused_or_others(spec: str) -> None:
    """Nothing but ValueError is raised, whatever is read; one of the same public half is the same."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    pair = generate_key_pair(spec)
    refused = 0
    for _ in range(200 if spec == "RSA_2048" else 2_000):
        bent = bytearray(pair.private)
        for _ in range(choose.choice([1, 1, 2, 5])):
            bent[choose.randrange(len(bent))] = choose.randrange(256)
        if choose.random() < 0.1:
            del bent[choose.randrange(len(bent)) :]
        try:
            found = read_key_pair(spec, bytes(bent))
        except ValueError:
            refused += 1
            continue
        assert (found.public == pair.public) == (found.private == pair.private)
    assert refused > 0


def rsa_key(*factors: int) -> bytes:
    """A private key of these two factors, prime or not, whose parts belong together."""
    p, q = factors
    d = pow(65537, -1, lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
    )
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def primes() -> tuple[int, int]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return numbers.p, numbers.q


def composite_of_1024_bits(beside: int) -> int:
    """A product of two primes that makes a modulus of 2,048 bits, not of 2,047, with the factor beside it."""
    while True:
        product = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
        if (product * beside).bit_length() == 2048:
            return product


def test_factors_are_prime() -> None:
    p, q = primes()
    assert read_key_pair("RSA_2048", rsa_key(p, q))
    composite = composite_of_1024_bits(beside=q)
    with pytest.raises(ValueError, match="does not do what it should"):
        read_key_pair("RSA_2048", rsa_key(composite, q))


@pytest.mark.parametrize("member", ["d", "p", "q", "dmp1", "dmq1", "iqmp", "n", "e"])
def test_parts_that_do_not_belong_together(member: str) -> None:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    parts = {name: getattr(numbers, name) for name in ("p", "q", "d", "dmp1", "dmq1", "iqmp")}
    public = {"e": numbers.public_numbers.e, "n": numbers.public_numbers.n}
    altered = parts if member in parts else public
    altered[member] += 2
    der = numbers.private_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    before = getattr(numbers, member) if member in parts else getattr(numbers.public_numbers, member)
    length = (before.bit_length() + 7) // 8
    bent = der.replace(before.to_bytes(length), altered[member].to_bytes(length), 1)
    assert bent != der
    with pytest.raises(ValueError, match=r"."):
        read_key_pair("RSA_2048", bent)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ECC_NIST_P256", ["EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"]),
        ("RSA_2048", ["RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]),
    ],
)
def test_the_algorithm_is_named_as_we_name_it(spec: str, words: list[str]) -> None:
    made = openssl("genpkey", "-quiet", "-algorithm", *words)
    der = openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", stdin=made)
    with pytest.raises(ValueError, match="not a key of spec"):
        read_key_pair(spec, der)


@pytest.mark.parametrize("form", ["traditional", "encrypted", "explicit parameters"])
def test_other_forms_of_private_keys(form: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    if form == "traditional":
        der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    elif form == "encrypted":
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    else:
        whole = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        der = whole.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("30080400040004000400"))
        assert der != whole
    with pytest.raises(ValueError, match=r"."):
        read_key_pair("ECC_NIST_P256", der)
