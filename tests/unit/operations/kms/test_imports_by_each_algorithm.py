"""The life of material that was wrapped by each algorithm, with a root key and in an HSM, and all that is refused."""

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom.config import Hsm, HsmPin
from strongroom.errors import (
    ExpiredImportToken,
    IncorrectKeyMaterial,
    InvalidCiphertext,
    InvalidImportToken,
    KMSInvalidState,
)
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.composed import DAY, NOW, Composed, Run, run_composed
from tests.hsm import new_token
from tests.importing import ALGORITHMS
from tests.keys import a_pair
from tests.unit.operations.kms.importing import Importing

SYMMETRIC = ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
HMAC = ("HMAC_384", "GENERATE_VERIFY_MAC")
ELLIPTIC = ("ECC_NIST_P256", "SIGN_VERIFY")
RSA = ("RSA_2048", "SIGN_VERIFY")

Make = Callable[[], bytes]
MATERIAL: dict[tuple[str, str], Make] = {
    SYMMETRIC: lambda: secrets.token_bytes(32),
    HMAC: lambda: secrets.token_bytes(48),
    ELLIPTIC: lambda: a_pair("ECC_NIST_P256").private,
    RSA: lambda: a_pair("RSA_2048").private,
}
WRONG: dict[tuple[str, str], list[Make]] = {
    SYMMETRIC: [lambda: secrets.token_bytes(31), lambda: secrets.token_bytes(33), lambda: secrets.token_bytes(32)],
    HMAC: [lambda: secrets.token_bytes(47), lambda: secrets.token_bytes(129), lambda: secrets.token_bytes(48)],
    ELLIPTIC: [lambda: a_pair("ECC_NIST_P384").private, lambda: a_pair("ECC_SECG_P256K1").private],
    RSA: [lambda: a_pair("RSA_3072").private, lambda: a_pair("ECC_NIST_P256").private],
}
"""Kind of key -> material of other lengths and specs, and other material: it is tried after the first import."""
CASES = [
    *((SYMMETRIC, algorithm) for algorithm in ALGORITHMS),
    (HMAC, "RSAES_OAEP_SHA_256"),
    (ELLIPTIC, "RSA_AES_KEY_WRAP_SHA_256"),
    (RSA, "RSA_AES_KEY_WRAP_SHA_1"),
]


@pytest.fixture(params=["software", "hsm"])
def run(request: pytest.FixtureRequest, data: Path, softhsm: SoftHsm) -> Run:
    if request.param == "software":
        return partial(run_composed, data)
    request.getfixturevalue("proven_before")
    hsm = Hsm(LIBRARY, new_token(softhsm), HsmPin(file=softhsm.pin_file), tuple(WEAKER_WAYS))
    return partial(run_composed, data, hsm=hsm)


async def use(key: Importing, kind: tuple[str, str]) -> bytes:
    """Use a key, so that what comes of it is the same again or, of a ciphertext, decrypts."""
    if kind == SYMMETRIC:
        blob = (await key.ask("Encrypt", Plaintext=b"plaintext")).ciphertext_blob
        decrypted: bytes = (await key.ask("Decrypt", CiphertextBlob=blob)).plaintext
        return decrypted
    if kind == HMAC:
        mac: bytes = (await key.ask("GenerateMac", Message=b"m", MacAlgorithm="HMAC_SHA_384")).mac
        return mac
    algorithm = "ECDSA_SHA_256" if kind == ELLIPTIC else "RSASSA_PKCS1_V1_5_SHA_256"
    asked = {"Message": b"m", "SigningAlgorithm": algorithm}
    signature = (await key.ask("Sign", **asked)).signature
    assert (await key.ask("Verify", Signature=signature, **asked)).signature_valid
    public: bytes = (await key.ask("GetPublicKey")).public_key
    return public


@pytest.mark.parametrize(("kind", "algorithm"), CASES)
def test_material_lives_and_nothing_else_gets_in(run: Run, kind: tuple[str, str], algorithm: str) -> None:
    async def test(parts: Composed) -> None:
        names = {"KeySpec": kind[0], "KeyUsage": kind[1]}
        key, other = [await Importing.new(parts, algorithm, **names) for _ in range(2)]
        material = MATERIAL[kind]()
        await key.take(material, ValidTo=NOW + 10)
        made = await use(key, kind)

        async def refuse_all() -> None:
            for wrong in WRONG[kind]:
                await key.refused(IncorrectKeyMaterial, "take", material=wrong())
            token = key.parameters.import_token
            forged = token[:-1] + bytes([token[-1] ^ 1])
            for bad in (forged, secrets.token_bytes(len(token)), other.parameters.import_token):
                await key.refused(InvalidImportToken, "take", material=material, ImportToken=bad)
            await key.refused(InvalidCiphertext, "take", material=material, EncryptedKeyMaterial=bytes(296))
            mine, key.parameters = key.parameters, replace(key.parameters, public_key=other.parameters.public_key)
            await key.refused(InvalidCiphertext, "take", material=material)
            key.parameters = mine

        await refuse_all()
        parts.clock.now = NOW + 10
        await key.expire()
        assert await key.state() == "PendingImport"
        await refuse_all()
        await key.take(material)
        assert await use(key, kind) == made
        await key.ask("DeleteImportedKeyMaterial")
        with pytest.raises(KMSInvalidState):
            await use(key, kind)
        await key.take(material)
        assert await use(key, kind) == made
        parts.clock.now = NOW + DAY
        await key.refused(ExpiredImportToken, "take", material=material)
        assert await use(key, kind) == made

    run(test)
