"""What the service adds to a primitive: a signed call through the pipeline, beside the bare call of the library.

Both in this process and by its CPU time, all threads counted: authentication, authorization, the operation and the
audit record, without sockets and HTTP (the static answer of the other tables stands for those).
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.serialization import load_der_public_key

from strongroom.app.installing import initialize
from strongroom.model.exchange import Incoming
from tests.bench.calls import best, done, key_of, repeated, served, text
from tests.composed import NOW, Composed, composed

AIM = 60
"""Microseconds that the service may add to the primitive."""
MESSAGE = bytes(1024)
PSS_SHA_256 = (PSS(MGF1(hashes.SHA256()), 32), hashes.SHA256())
ECDSA = ec.ECDSA(hashes.SHA256())


class Row(NamedTuple):
    """One operation: its request, and the bare call."""

    name: str
    operation: str
    request: Incoming
    bare: Callable[[], object]


class Measured(NamedTuple):
    """What one takes, in microseconds of CPU: the best of the rounds."""

    name: str
    bare: float
    served: float


def measure_primitives() -> list[Measured]:
    """Measure every row on an installation of its own."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        data = Path(directory) / "data"
        initialize(data, region="us-east-1", port=0, account="111122223333", now=NOW)
        return asyncio.run(_measure(data))


def report_primitives(measured: list[Measured]) -> list[str]:
    """Write the table."""
    head = ["", "| call, 1 KB | library µs | service µs | added µs | ratio |", "|---" * 5 + "|"]
    rows = [
        f"| {name} | {bare:.1f} | {served:.1f} | {served - bare:.1f} | {served / bare:.2f} |"
        for name, bare, served in measured
    ]
    return [*head, *rows, "", f"Aim: at most {AIM} µs added."]


async def _measure(data: Path) -> list[Measured]:
    async with composed(data) as parts:
        return [
            Measured(row.name, await best(repeated(row.bare)), await best(served(parts, row.operation, row.request)))
            async for row in _rows(parts)
        ]


async def _rows(parts: Composed) -> AsyncIterator[Row]:
    rsa_key, ec_key = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    ed_key, dsa_key = ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA65PrivateKey.generate()
    signings: list[tuple[str, str, Callable[[], bytes], tuple[Any, ...]]] = [
        ("RSA_2048", "RSASSA_PSS_SHA_256", lambda: rsa_key.sign(MESSAGE, *PSS_SHA_256), PSS_SHA_256),
        ("ECC_NIST_P256", "ECDSA_SHA_256", lambda: ec_key.sign(MESSAGE, ECDSA), (ECDSA,)),
        ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", lambda: ed_key.sign(MESSAGE), ()),
        ("ML_DSA_65", "ML_DSA_SHAKE_256", lambda: dsa_key.sign(MESSAGE), ()),
    ]  # fmt: skip
    for spec, algorithm, sign, how in signings:
        key = await key_of(parts, spec, "SIGN_VERIFY")
        members = {"KeyId": key, "SigningAlgorithm": algorithm, "Message": text(MESSAGE)}
        yield Row(f"Sign {algorithm}", "Sign", parts.signed("Sign", members), sign)
        signature = (await done(parts, "Sign", members)).signature
        public: Any = load_der_public_key((await done(parts, "GetPublicKey", {"KeyId": key})).public_key)
        request = parts.signed("Verify", members | {"Signature": text(signature)})
        yield Row(f"Verify {algorithm}", "Verify", request, lambda: public.verify(signature, MESSAGE, *how))  # noqa: B023 — called before the next

    mac = {"KeyId": await key_of(parts, "HMAC_256", "GENERATE_VERIFY_MAC"), "MacAlgorithm": "HMAC_SHA_256"}
    request = parts.signed("GenerateMac", mac | {"Message": text(MESSAGE)})
    yield Row("GenerateMac HMAC_SHA_256", "GenerateMac", request, _mac)

    theirs = await key_of(parts, "ECC_NIST_P256", "KEY_AGREEMENT")
    spki = (await done(parts, "GetPublicKey", {"KeyId": theirs})).public_key
    agreeing = {"KeyId": theirs, "KeyAgreementAlgorithm": "ECDH", "PublicKey": text(spki)}
    point: Any = load_der_public_key(spki)
    request = parts.signed("DeriveSharedSecret", agreeing)
    yield Row("DeriveSharedSecret P-256", "DeriveSharedSecret", request, lambda: ec_key.exchange(ec.ECDH(), point))

    kem_key = mlkem.MLKEM768PrivateKey.generate()
    _, ciphertext = kem_key.public_key().encapsulate()
    opening = {
        "KeyId": await key_of(parts, "ML_KEM_768", "ENCAPSULATE_DECAPSULATE"),
        "EncapsulationAlgorithm": "ML_KEM",
        "SharedSecretCiphertextBlob": text(ciphertext),
    }
    request = parts.signed("Decapsulate", opening)
    yield Row("Decapsulate ML_KEM_768", "Decapsulate", request, lambda: kem_key.decapsulate(ciphertext))


def _mac() -> bytes:
    mac = hmac.HMAC(bytes(32), hashes.SHA256())
    mac.update(MESSAGE)
    return mac.finalize()
