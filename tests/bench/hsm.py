"""What a call costs with the HSM store: beside the same call with the software store, and the bare PKCS #11 calls.

All in one process on one core, and by its CPU time, all threads counted, SoftHSM's work among it; as `primitives.py`
measures. With a second core that is free, handing the interpreter from thread to thread costs more.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from strongroom.app.installing import initialize
from strongroom.config import Hsm, HsmPin
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template
from strongroom.keystores.hsm.mechanisms import ECDSA, to_sign
from strongroom.keystores.hsm.module import open_module
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import MESSAGE_KEY, private_key, public_key, secret_key
from strongroom.model.exchange import Incoming
from strongroom.testing.softhsm import LIBRARY, SoftHsm, make_softhsm
from tests.bench.calls import best, done, key_of, repeated, served, text
from tests.bench.machine import cores
from tests.composed import NOW, Composed, composed

AIM = 60
"""Microseconds that the service may add to what the software store takes and the bare calls."""
RATE_AIM = 5_000
"""Encryptions a second of one core."""
MESSAGE = bytes(1024)
P256 = bytes.fromhex("06082a8648ce3d030107")
TOKEN = "bench"


class Measured(NamedTuple):
    """What one takes, in microseconds of CPU: the best of the rounds."""

    name: str
    bare: float
    software: float
    hsm: float


def measure_hsm() -> list[Measured]:
    """Measure every row on two installations, side by side."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})
    try:
        return _measured()
    finally:
        os.sched_setaffinity(0, everywhere)


def _measured() -> list[Measured]:
    with tempfile.TemporaryDirectory(dir="build") as directory:
        softhsm = make_softhsm(Path(directory).absolute(), TOKEN)
        os.environ.update(softhsm.environment)
        names = {"region": "us-east-1", "port": 0, "account": "111122223333", "now": NOW}
        software, hsm = Path(directory) / "software", Path(directory) / "hsm"
        initialize(software, **names)  # type: ignore[arg-type]
        initialize(hsm, hsm=Hsm(LIBRARY, TOKEN, HsmPin(file=softhsm.pin_file)), **names)  # type: ignore[arg-type]
        return asyncio.run(_measure(software, hsm, softhsm))


def report_hsm(measured: list[Measured]) -> list[str]:
    """Write the table."""
    head = ["", "| call, 1 KB | bare PKCS #11 µs | software store µs | HSM store µs | added µs | calls/s of a core |"]
    rows = [
        f"| {row.name} | {row.bare:.1f} | {row.software:.1f} | {row.hsm:.1f} "
        f"| {row.hsm - row.software - row.bare:.1f} | {1e6 / row.hsm:,.0f} |"
        for row in measured
    ]
    aims = f"Aims: at most {AIM} µs added to the software store's and the bare calls; {RATE_AIM:,} Encrypts a second."
    return [*head, "|---" * 6 + "|", *rows, "", aims]


async def _measure(software: Path, hsm: Path, softhsm: SoftHsm) -> list[Measured]:
    async with composed(software) as plain, composed(hsm) as hard:
        module = open_module(str(LIBRARY))
        slot = module.find_slot(TOKEN)
        assert slot is not None
        session = module.open_session(slot)
        session.login(softhsm.pin_file.read_bytes())
        bare = _bare_calls(session)
        rows = [await _requests(plain), await _requests(hard)]
        return [
            Measured(
                name,
                await best(repeated(bare[name])),
                await best(served(plain, *rows[0][name])),
                await best(served(hard, *rows[1][name])),
            )
            for name in bare
        ]


def _bare_calls(session: Session) -> dict[str, Callable[[], object]]:
    """What the token does for each call, asked of it alone."""
    deriving = session.generate_key(
        Mechanism(p11.CKM_AES_KEY_GEN), Template({**secret_key(p11.CKK_AES, p11.CKA_DERIVE), p11.CKA_VALUE_LEN: 32})
    )
    secret = session.generate_key(
        Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN),
        Template({**secret_key(p11.CKK_GENERIC_SECRET, p11.CKA_SIGN), p11.CKA_VALUE_LEN: 32}),
    )
    _, rsa = session.generate_pair(
        Mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN),
        Template(public_key(p11.CKK_RSA, CKA_MODULUS_BITS=2048, CKA_PUBLIC_EXPONENT=b"\1\0\1")),
        Template(private_key(p11.CKK_RSA, p11.CKA_SIGN)),
    )
    _, curve = session.generate_pair(
        Mechanism(p11.CKM_EC_KEY_PAIR_GEN),
        Template(public_key(p11.CKK_EC, CKA_EC_PARAMS=P256)),
        Template(private_key(p11.CKK_EC, p11.CKA_SIGN)),
    )
    hmac = Mechanism(p11.CKM_SHA256_HMAC)
    pss, digest = to_sign("RSASSA_PSS_SHA_256", "RAW", MESSAGE)
    blocks, nonce = bytes(32), bytes(12)

    def message_key(work: Callable[[int], bytes]) -> bytes:
        key = session.derive_by_encryption(deriving, blocks, MESSAGE_KEY)
        try:
            return work(key)
        finally:
            session.destroy(key)

    sealed = message_key(lambda key: session.encrypt_gcm(key, nonce, MESSAGE, b"context"))

    def generate_data_key() -> None:
        data_key = session.random(1024)
        message_key(lambda key: session.encrypt_gcm(key, nonce, data_key, b"context"))

    return {
        "Encrypt": lambda: message_key(lambda key: session.encrypt_gcm(key, nonce, MESSAGE, b"context")),
        "Decrypt": lambda: message_key(lambda key: session.decrypt_gcm(key, nonce, sealed, b"context")),
        "GenerateDataKey": generate_data_key,
        "Sign RSA-2048": lambda: session.sign(pss, rsa, digest),
        "Sign P-256": lambda: session.sign(ECDSA, curve, hashlib.sha256(MESSAGE).digest()),
        "GenerateMac": lambda: session.sign(hmac, secret, MESSAGE),
    }


async def _requests(parts: Composed) -> dict[str, tuple[str, Incoming]]:
    """The same calls of the service."""
    symmetric = {"KeyId": await key_of(parts)}
    signing = {name: await key_of(parts, name, "SIGN_VERIFY") for name in ("RSA_2048", "ECC_NIST_P256")}
    mac = {"KeyId": await key_of(parts, "HMAC_256", "GENERATE_VERIFY_MAC"), "MacAlgorithm": "HMAC_SHA_256"}
    blob = (await done(parts, "Encrypt", symmetric | {"Plaintext": text(MESSAGE)})).ciphertext_blob
    members: dict[str, tuple[str, dict[str, Any]]] = {
        "Encrypt": ("Encrypt", symmetric | {"Plaintext": text(MESSAGE)}),
        "Decrypt": ("Decrypt", {"CiphertextBlob": text(blob)}),
        "GenerateDataKey": ("GenerateDataKey", symmetric | {"NumberOfBytes": 1024}),
        "Sign RSA-2048": ("Sign", _sign(signing["RSA_2048"], "RSASSA_PSS_SHA_256")),
        "Sign P-256": ("Sign", _sign(signing["ECC_NIST_P256"], "ECDSA_SHA_256")),
        "GenerateMac": ("GenerateMac", mac | {"Message": text(MESSAGE)}),
    }
    return {name: (operation, parts.signed(operation, request)) for name, (operation, request) in members.items()}


def _sign(key: str, algorithm: str) -> dict[str, Any]:
    return {"KeyId": key, "SigningAlgorithm": algorithm, "Message": text(MESSAGE)}
