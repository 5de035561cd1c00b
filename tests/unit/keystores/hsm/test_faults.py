"""Whatever fails in the HSM: callers get an error that can be retried, the store recovers, and no answer is wrong."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import load_encryption_key, load_verifying_key
from strongroom.errors import DependencyTimeout, KMSInternal, RequestError
from strongroom.keystores.contract import SymmetricKey
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.threads import CallThreads
from strongroom.keystores.hsm.token import Token
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, opened_hsm
from tests.keys import generate, kms_key
from tests.sizes import SMALL, Size

RECOVERY_SECONDS = 20
CODES = {
    "session closed": 0xB0,
    "session handle invalid": 0xB3,
    "device error": 0x30,
    "device removed": 0x32,
    "not initialized": 0x190,
    "not logged in": 0x101,
    "object handle invalid": 0x82,
    "key handle invalid": 0x60,
    "encrypted data invalid": 0x40,
    "data length": 0x21,
    "mechanism invalid": 0x70,
    "function not permitted": 0x68,
    "general error": 0x05,
    "function failed": 0x06,
    "no memory": 0x02,
    "no memory in the token": 0x31,
    "a maker's own": 0x80000001,
}
ONE_OF_EACH_CLASS = (0xB3, 0x30, 0x82, 0x40, 0x70, 0x05, 0x31)
CALLS = [
    "C_OpenSession", "C_CloseSession", "C_GenerateRandom", "C_DestroyObject", "C_GetAttributeValue", "C_EncryptInit",
    "C_Encrypt", "C_DecryptInit", "C_Decrypt", "C_SignInit", "C_Sign", "C_GenerateKey", "C_GenerateKeyPair",
    "C_WrapKey", "C_UnwrapKey", "C_DeriveKey",
]  # fmt: skip


class Store(NamedTuple):
    store: HsmKeyStore
    token: Token[object]
    faults: Faults


class Held(NamedTuple):
    key: KmsKey
    material: KeyMaterial


@pytest.fixture(scope="module")
def hsm(softhsm: SoftHsm) -> Iterator[Store]:
    faults = Faults(load(str(LIBRARY)))
    with opened_hsm(softhsm, Module(faults.functions)) as opened:
        store = HsmKeyStore(
            opened.token,
            opened.can,
            allowed=("host-oaep-sha-256", "software-ed25519"),
            count_use=lambda _: None,
            material_ids=IDS,
        )
        yield Store(store, opened.token, faults)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def well_again(hsm: Store) -> Iterator[None]:
    """Each test begins with a token that is well, and leaves one that becomes well."""
    yield
    hsm.faults.clear()
    wait_until_well(hsm)


def wait_until_well(hsm: Store) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while hsm.token.quarantined is not None:
        assert time.monotonic() < deadline, hsm.token.quarantined
        time.sleep(0.02)


@pytest.fixture(scope="module")
def held(hsm: Store) -> dict[str, Held]:
    kinds = {
        "symmetric": ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
        "mac": ("HMAC_256", "GENERATE_VERIFY_MAC"),
        "rsa-sign": ("RSA_2048", "SIGN_VERIFY"),
        "rsa-decrypt": ("RSA_2048", "ENCRYPT_DECRYPT"),
        "ec-sign": ("ECC_NIST_P256", "SIGN_VERIFY"),
        "ec-derive": ("ECC_NIST_P256", "KEY_AGREEMENT"),
        "ed25519": ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
    }
    keys = {name: kms_key(*kind) for name, kind in kinds.items()}
    return {name: Held(key, generate(hsm.store, key)) for name, key in keys.items()}


def use(store: HsmKeyStore, name: str, held: Held) -> None:
    """Use a key, and see that the answer is right."""
    key, material = held
    public = material.public_key or b""
    match name:
        case "symmetric":
            symmetric = store.open_symmetric(key, material)
            assert symmetric.decrypt(parse(symmetric.encrypt(b"plaintext", {"a": "b"})), {"a": "b"}) == b"plaintext"
        case "mac":
            mac = store.open_mac(key, material)
            mac.verify("HMAC_SHA_256", b"message", mac.generate("HMAC_SHA_256", b"message"))
        case "rsa-decrypt":
            for algorithm in ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"):
                ciphertext = load_encryption_key(key.key_spec, public).encrypt(algorithm, b"plaintext")
                assert store.open_decryption(key, material).decrypt(algorithm, ciphertext) == b"plaintext"
        case "ec-derive":
            secrets = {store.open_agreement(key, material).shared_secret(public) for _ in range(2)}
            assert len(secrets) == 1
        case _:
            algorithm = {"rsa-sign": "RSASSA_PSS_SHA_256", "ec-sign": "ECDSA_SHA_256", "ed25519": "ED25519_SHA_512"}[
                name
            ]
            signature = store.open_signing(key, material).sign(algorithm, "RAW", b"message")
            load_verifying_key(key.key_spec, public).verify(algorithm, "RAW", b"message", signature)


def attempt(work: Callable[[], object]) -> bool:
    """Whether it succeeded; the only way to fail is an error that can be retried."""
    try:
        work()
    except KMSInternal:
        return False
    return True


@pytest.mark.soak
@pytest.mark.parametrize("call", CALLS)
def test_one_fault_is_mended_or_can_be_retried(hsm: Store, held: dict[str, Held], call: str, size: Size) -> None:
    """One of each class of errors, and in the soak every code."""
    for code in ONE_OF_EACH_CLASS if size is SMALL else CODES.values():
        for name, one in held.items():
            for opened in (True, False):
                if not opened:
                    hsm.store.forget(one.material.region, one.material.material_id)
                hsm.faults.fail(call, code)
                if not attempt(lambda name=name, one=one: use(hsm.store, name, one)):  # type: ignore[misc]
                    wait_until_well(hsm)
                hsm.faults.clear()
                use(hsm.store, name, one)


@pytest.mark.parametrize("code", [0x30, 0x05, 0xB3, 0x82], ids=["device", "general", "session", "object"])
def test_a_lasting_fault_is_told_at_once_and_ends(hsm: Store, held: dict[str, Held], code: int) -> None:
    for call in ("C_EncryptInit", "C_DecryptInit", "C_SignInit", "C_DeriveKey", "C_OpenSession"):
        hsm.faults.fail(call, code, times=1_000_000)
    assert not attempt(lambda: use(hsm.store, "symmetric", held["symmetric"]))
    assert not attempt(lambda: use(hsm.store, "mac", held["mac"]))
    assert hsm.token.quarantined is not None
    hsm.faults.clear()
    wait_until_well(hsm)
    for name, one in held.items():
        use(hsm.store, name, one)


@pytest.mark.parametrize("code", [0x30, 0x05, 0x82])
def test_a_fault_while_a_key_is_made_leaves_no_key(hsm: Store, code: int) -> None:
    for call in ("C_GenerateKey", "C_WrapKey", "C_SignInit", "C_Sign", "C_DestroyObject"):
        hsm.faults.fail(call, code)
        made: list[KeyMaterial] = []
        key = kms_key()
        if attempt(lambda key=key, made=made: made.append(generate(hsm.store, key))):  # type: ignore[misc]
            use(hsm.store, "symmetric", Held(key, made[0]))
        wait_until_well(hsm)
        hsm.faults.clear()


def test_the_token_is_away_and_comes_back(hsm: Store, held: dict[str, Held], softhsm: SoftHsm) -> None:
    away = softhsm.directory / "away"
    softhsm.tokens.rename(away)
    try:
        softhsm.tokens.mkdir()
        for _ in range(3):
            assert not attempt(lambda: generate(hsm.store))
        assert hsm.token.quarantined is not None
        assert not attempt(lambda: use(hsm.store, "symmetric", held["symmetric"]))
    finally:
        softhsm.tokens.rmdir()
        away.rename(softhsm.tokens)
    wait_until_well(hsm)
    for name, one in held.items():
        use(hsm.store, name, one)


def test_a_wrong_pin_is_tried_once_and_the_right_one_again(hsm: Store, softhsm: SoftHsm) -> None:
    right = softhsm.pin_file.read_text()
    softhsm.pin_file.write_text("0000")
    try:
        logins = hsm.faults.calls["C_Login"]
        hsm.token.quarantine("a test")
        deadline = time.monotonic() + RECOVERY_SECONDS
        while hsm.faults.calls["C_Initialize"] < 3 or hsm.faults.calls["C_Login"] == logins:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1)
        assert hsm.token.quarantined is not None
        assert hsm.faults.calls["C_Login"] == logins + 1
    finally:
        softhsm.pin_file.write_text(right)
    wait_until_well(hsm)
    assert hsm.faults.calls["C_Login"] == logins + 2


def test_a_call_that_never_returns_lets_its_caller_go(hsm: Store, held: dict[str, Held]) -> None:
    key, material = held["symmetric"]
    symmetric = hsm.store.open_symmetric(key, material)
    returns = threading.Event()
    hanging = threading.Event()

    def hang(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if not hanging.is_set():
            hanging.set()
            returns.wait(RECOVERY_SECONDS)
        return call(*arguments)

    async def run() -> None:
        threads = CallThreads(2, 0.3, name="test", on_overdue=hsm.token.quarantine, on_all_hanging=pytest.fail)
        await threads.run(symmetric.encrypt, b"plaintext", {})
        hsm.faults.set("C_Encrypt", hang)
        with pytest.raises(DependencyTimeout):
            await threads.run(symmetric.encrypt, b"plaintext", {})
        await asyncio.to_thread(wait_until_well, hsm)  # beside the call that hangs
        blob = await threads.run(symmetric.encrypt, b"plaintext", {})
        assert await threads.run(symmetric.decrypt, parse(blob), {}) == b"plaintext"
        returns.set()
        threads.stop()

    asyncio.run(run())


def test_when_all_threads_hang_it_is_told() -> None:
    returns = threading.Event()

    async def run() -> None:
        all_hanging = asyncio.Event()
        threads = CallThreads(
            2, 0.1, name="test", on_overdue=lambda _: None, on_all_hanging=lambda _: all_hanging.set()
        )
        waiting = [asyncio.ensure_future(threads.run(returns.wait, 20)) for _ in range(3)]
        for one in waiting:
            with pytest.raises(DependencyTimeout):
                await one
        async with asyncio.timeout(RECOVERY_SECONDS):
            await all_hanging.wait()
        returns.set()
        threads.stop()

    asyncio.run(run())


class Clients:
    """Threads that encrypt with some keys, and decrypt what others encrypted, over and over."""

    def __init__(self, store: HsmKeyStore) -> None:
        self.store = store
        self.keys = [kms_key() for _ in range(20)]
        self.materials = [generate(store, key) for key in self.keys]
        self.acknowledged: list[tuple[int, bytes, bytes]] = []
        """Which key, the ciphertext, and the plaintext."""
        self.refused = 0

    def work(self, number: int, operations: int) -> None:
        own = random.Random(number)  # not secret
        for turn in range(operations):
            try:
                if turn % 3 and self.acknowledged:
                    self.check(own.choice(self.acknowledged))
                else:
                    which, plaintext = own.randrange(len(self.keys)), own.randbytes(64)
                    self.acknowledged.append((which, self.opened(which).encrypt(plaintext, {}), plaintext))
            except KMSInternal:
                self.refused += 1
                time.sleep(0.001)

    def check(self, acknowledged: tuple[int, bytes, bytes]) -> None:
        which, blob, plaintext = acknowledged
        assert self.opened(which).decrypt(parse(blob), {}) == plaintext

    def opened(self, which: int) -> SymmetricKey:
        return self.store.open_symmetric(self.keys[which], self.materials[which])


@pytest.mark.soak
def test_after_random_faults_everything_acknowledged_decrypts(hsm: Store, size: Size) -> None:
    """Of all calls of four threads, one in a few hundred fails in some way."""
    chance = random.Random(7)
    codes = list(CODES.values())

    def sometimes(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        return chance.choice(codes) if chance.random() < 0.003 else call(*arguments)

    clients = Clients(hsm.store)
    for call in CALLS:
        hsm.faults.set(call, sometimes)
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(clients.work, n, size.hsm_faulty_operations // 4) for n in range(4)]:
            done.result()
    hsm.faults.clear()
    wait_until_well(hsm)
    for acknowledged in clients.acknowledged:
        clients.check(acknowledged)
    assert len(clients.acknowledged) > size.hsm_faulty_operations / 20
    told = f"{size.hsm_faulty_operations} operations with faults, {clients.refused} refused"
    print(f"\n{told}, all {len(clients.acknowledged)} ciphertexts decrypt")


def test_no_error_but_a_request_error_leaves_the_store(hsm: Store, held: dict[str, Held]) -> None:
    hsm.faults.fail("C_Sign", 0x05, times=1_000)
    with pytest.raises(RequestError):
        use(hsm.store, "mac", held["mac"])
