"""A token goes away, comes back, is initialized anew: no number of an earlier time is used, and nothing is left."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import parse
from strongroom.crypto.key_pairs import generate_key_pair
from strongroom.errors import HsmError, IncorrectKeyMaterial, InvalidCiphertext, KeyUnavailable, KMSInternal
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm import token as token_module
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import WEAKER_WAYS
from strongroom.keystores.hsm.failures import NotPossibleError, SessionLostError, TokenLostError
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opening import Hsm, probe_token
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.token import Token
from strongroom.model.key import KeyMaterial
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, logged_in, new_token, opened_hsm, place_of
from tests.importing import ALGORITHMS, imported, wrapped
from tests.keys import generate, kms_key

pytestmark = pytest.mark.usefixtures("proven_before")
RECOVERY_SECONDS = 20
THREADS = 4

NOT_OF_A_SESSION = {
    "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetSlotList", "C_GetTokenInfo", "C_GetMechanismList", "C_OpenSession",
}  # fmt: skip
OBJECTS_GIVEN = {
    "C_DestroyObject": (1,), "C_GetAttributeValue": (1,), "C_EncryptInit": (2,), "C_DecryptInit": (2,),
    "C_DigestKey": (1,), "C_SignInit": (2,), "C_WrapKey": (2, 3), "C_UnwrapKey": (2,), "C_DeriveKey": (2,),
}  # fmt: skip
OBJECTS_MADE = {
    "C_CreateObject": (3,), "C_GenerateKey": (4,), "C_GenerateKeyPair": (6, 7), "C_UnwrapKey": (7,),
    "C_DeriveKey": (5,),
}  # fmt: skip


class Ledger:
    """Keeps the numbers that a library has given out since it was initialized, and notes whoever uses another."""

    def __init__(self, faults: Faults) -> None:
        self.sessions: set[int] = set()
        self.objects: set[int] = set()
        self.wrong: list[str] = []
        self._under_way = 0
        self._lock = threading.Lock()
        for name in p11.SIGNATURES:
            faults.set(name, self._noting(name))

    def _noting(self, name: str) -> Callable[[Callable[..., int], tuple[object, ...]], int]:
        def noting(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
            with self._lock:
                self._before(name, arguments)
                self._under_way += 1
            code = call(*arguments)
            with self._lock:
                self._under_way -= 1
                if code == p11.CKR_OK:
                    self._after(name, arguments)
            return code

        return noting

    def _before(self, name: str, arguments: tuple[object, ...]) -> None:
        if name == "C_Finalize":
            if self._under_way:
                self.wrong.append(f"finalized with {self._under_way} calls under way")
            self.sessions.clear()
            self.objects.clear()
        if name not in NOT_OF_A_SESSION and arguments[0] not in self.sessions:
            self.wrong.append(f"{name} in session {arguments[0]}")
        for at in OBJECTS_GIVEN.get(name, ()):
            if arguments[at] not in self.objects:
                self.wrong.append(f"{name} of object {arguments[at]}")

    def _after(self, name: str, arguments: tuple[object, ...]) -> None:
        match name:
            case "C_OpenSession":
                self.sessions.add(given_back(arguments[4]))
            case "C_CloseSession":
                self.sessions.discard(arguments[0])
            case "C_DestroyObject":
                self.objects.discard(arguments[1])
            case "C_FindObjects":
                self.objects.update(arguments[1][: given_back(arguments[3])])  # type: ignore[index]
        self.objects.update(given_back(arguments[at]) for at in OBJECTS_MADE.get(name, ()))


def given_back(pointer: object) -> int:
    """The number behind what `byref` made."""
    number: int = pointer._obj.value  # type: ignore[attr-defined]
    return number


class Watched:
    """A key store over a token, whose library is watched."""

    def __init__(self, hsm: Hsm, faults: Faults, ledger: Ledger) -> None:
        self.token = hsm.token
        self.store = HsmKeyStore(hsm.token, hsm.can, allowed=WEAKER_WAYS, count_use=lambda _: None, material_ids=IDS)
        self.faults = faults
        self.ledger = ledger

    def wait_until_well(self) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while self.token.quarantined is not None:
            assert time.monotonic() < deadline, self.token.quarantined
            time.sleep(0.005)

    def reopen(self) -> None:
        """Have the token away for a moment."""
        initialized = self.faults.calls["C_Initialize"]
        self.token.quarantine("a test")
        self.wait_until_well()
        assert self.faults.calls["C_Initialize"] > initialized

    def session_objects(self) -> int:
        """How many objects there are in the token that are not to stay."""
        return len(self.token.run(lambda lease: lease.session.find(Template({p11.CKA_TOKEN: False}))))


@pytest.fixture
def watched(softhsm: SoftHsm, label: str) -> Iterator[Watched]:
    faults = Faults(load(str(LIBRARY)))
    ledger = Ledger(faults)
    with opened_hsm(softhsm, Module(faults.functions), label=label) as hsm:
        yield Watched(hsm, faults, ledger)
    assert ledger.wrong == []


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


def test_a_number_means_another_key_after_a_recovery_and_is_not_used(watched: Watched) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    materials = [generate(watched.store, key) for _ in range(2)]
    macs = [mac_of(watched, number, materials) for number in range(2)]
    assert macs[0] != macs[1]
    signed_with: list[object] = []
    signing = watched.faults._faults["C_SignInit"]

    def note(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        signed_with.append(arguments[2])
        return signing(call, arguments)

    for first in (0, 1):
        watched.reopen()
        watched.faults.set("C_SignInit", note)
        assert mac_of(watched, first, materials) == macs[first]
        watched.faults.set("C_SignInit", signing)
    assert signed_with[1] == signed_with[3], "the numbers of two keys, each the first that was opened, are the same"
    assert [mac_of(watched, number, materials) for number in range(2)] == macs


def mac_of(watched: Watched, number: int, materials: list[KeyMaterial]) -> bytes:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    return watched.store.open_mac(key, materials[number]).generate("HMAC_SHA_256", b"message")


def test_keys_that_are_open_are_opened_again_after_each_recovery(watched: Watched) -> None:
    keys = [kms_key() for _ in range(3)]
    opened = [watched.store.open_symmetric(key, generate(watched.store, key)) for key in keys]
    blobs = [one.encrypt(b"before", {}) for one in opened]
    for _ in range(3):
        watched.reopen()
        for at in (1, 2, 0, 1):  # in another order than before
            assert opened[at].decrypt(parse(blobs[at]), {}) == b"before"
            with pytest.raises(InvalidCiphertext):
                opened[at].decrypt(parse(blobs[at - 1]), {})
    assert watched.session_objects() == 3


def test_what_was_forgotten_before_a_recovery_destroys_nothing_after_it(watched: Watched) -> None:
    key = kms_key("HMAC_256", "GENERATE_VERIFY_MAC")
    forgotten, kept = generate(watched.store, key), generate(watched.store, key)
    watched.reopen()
    watched.store.open_mac(key, forgotten).generate("HMAC_SHA_256", b"message")
    watched.store.forget(forgotten.region, forgotten.material_id)
    watched.reopen()
    mac = watched.store.open_mac(key, kept).generate("HMAC_SHA_256", b"message")
    assert watched.store.open_mac(key, kept).generate("HMAC_SHA_256", b"message") == mac
    assert watched.session_objects() == 1


def test_recoveries_under_load_lose_nothing_and_use_no_old_number(watched: Watched) -> None:
    key = kms_key()
    materials = [generate(watched.store, key) for _ in range(3)]
    stop = threading.Event()

    def work(number: int) -> int:
        done = 0
        while not stop.is_set():
            try:
                opened = watched.store.open_symmetric(key, materials[(number + done) % 3])
                blob = opened.encrypt(number.to_bytes(2), {})
                assert opened.decrypt(parse(blob), {}) == number.to_bytes(2)
                done += 1
            except KMSInternal:
                time.sleep(0.001)
        return done

    with ThreadPoolExecutor(THREADS) as threads:
        working = [threads.submit(work, number) for number in range(THREADS)]
        try:
            for _ in range(6):
                watched.reopen()
                time.sleep(0.03)
        finally:
            stop.set()
        assert all(done.result() > 0 for done in working)
    assert watched.session_objects() <= 3
    assert len(watched.ledger.sessions) <= 1 + THREADS


def test_at_the_bound_calls_wait_and_succeed_and_nothing_is_left(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "DESTROYED_LIMIT", 100)
    initialized = watched.faults.calls["C_Initialize"]
    key = kms_key()
    materials = [generate(watched.store, key) for _ in range(3)]

    def work(number: int) -> None:
        for turn in range(100):
            opened = watched.store.open_symmetric(key, materials[turn % 3])
            assert opened.decrypt(parse(opened.encrypt(b"plaintext", {})), {}) == b"plaintext"

    with ThreadPoolExecutor(THREADS) as threads:
        for done in [threads.submit(work, number) for number in range(THREADS)]:
            done.result()  # no call failed
    assert 4 <= watched.faults.calls["C_Initialize"] - initialized <= 8
    assert watched.session_objects() <= 3
    assert len(watched.ledger.sessions) <= 1 + THREADS


def test_many_operations_leave_no_sessions_and_no_objects(watched: Watched) -> None:
    rounds = (kms_key(), kms_key("HMAC_256", "GENERATE_VERIFY_MAC"), kms_key("ECC_NIST_P256", "KEY_AGREEMENT"))
    sessions, objects = len(watched.ledger.sessions), watched.session_objects()
    assert objects == 0
    for _ in range(30):
        for key in rounds:
            material = generate(watched.store, key)
            match key.key_usage:
                case "ENCRYPT_DECRYPT":
                    opened = watched.store.open_symmetric(key, material)
                    blob = opened.encrypt(b"plaintext", {})
                    with pytest.raises(InvalidCiphertext):
                        opened.decrypt(parse(blob), {"another": "context"})
                case "GENERATE_VERIFY_MAC":
                    watched.store.open_mac(key, material).generate("HMAC_SHA_256", b"message")
                case _:
                    watched.store.open_agreement(key, material).shared_secret(material.public_key or b"")
            watched.store.forget(material.region, material.material_id)
        watched.store.generate_key_pair("ECC_NIST_P256")
    watched.store.random_bytes(1)
    watched.store._plain.sweep()
    watched.store._deriving.sweep()
    assert watched.session_objects() == 0
    assert len(watched.ledger.sessions) == max(sessions, 2)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_imports_leave_no_sessions_and_no_objects(watched: Watched, algorithm: str) -> None:
    """Those that fail, at whatever step, neither."""
    store = watched.store
    for kind, wrong in (
        (("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), secrets.token_bytes(31)),
        (("HMAC_256", "GENERATE_VERIFY_MAC"), secrets.token_bytes(129)),
        (("ECC_NIST_P256", "SIGN_VERIFY"), generate_key_pair("ECC_NIST_P384").private),
        (("ECC_NIST_P256", "KEY_AGREEMENT"), secrets.token_bytes(32)),
        (("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"), secrets.token_bytes(32)),
    ):
        key = kms_key(*kind)
        import_key = store.new_import_key(key, "RSA_2048", algorithm)
        pair = not key.key_spec.startswith(("SYMMETRIC", "HMAC"))
        right = generate_key_pair(key.key_spec).private if pair else secrets.token_bytes(32)
        imported(store, key, import_key, right)
        if key.key_spec == "HMAC_256":
            imported(store, key, import_key, secrets.token_bytes(65))
        with pytest.raises(IncorrectKeyMaterial):
            imported(store, key, import_key, wrong)
        encrypted = wrapped(import_key, right)
        cut = wrapped(import_key, right, secrets.token_bytes(16))[:-1] if import_key.two_steps else encrypted[:-1]
        for altered in (bytes([encrypted[0] ^ 1]) + encrypted[1:], encrypted[:-1] + bytes([encrypted[-1] ^ 1]), cut):
            with pytest.raises(InvalidCiphertext):
                store.import_material(key, import_key, altered, created=1.5)
        with pytest.raises(KeyUnavailable):
            imported(store, key, replace(import_key, wrapped=import_key.wrapped[:-1]), right)
    assert watched.session_objects() == 0
    assert len(watched.ledger.sessions) <= 2
    assert watched.ledger.wrong == []


def test_a_session_that_is_lost_is_replaced_once(watched: Watched) -> None:
    material = generate(watched.store)
    opened = watched.store.open_symmetric(kms_key(), material)
    attempts: list[int] = []

    def work(lease: object) -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise SessionLostError("C_Sign", 0xB3)
        return "done"

    assert watched.token.run(work) == "done"
    assert watched.token.quarantined is None

    def lose(lease: object) -> str:
        raise SessionLostError("C_Sign", 0xB3)

    with pytest.raises(KMSInternal):
        watched.token.run(lose)
    watched.wait_until_well()
    assert opened.decrypt(parse(opened.encrypt(b"plaintext", {})), {}) == b"plaintext"


def test_work_that_loses_the_token_is_not_done_again(watched: Watched) -> None:
    attempts: list[int] = []

    def work(lease: object) -> None:
        attempts.append(1)
        raise TokenLostError("C_Sign", 0x30)

    with pytest.raises(KMSInternal):
        watched.token.run(work)
    assert attempts == [1]
    watched.wait_until_well()


def test_a_session_in_which_a_call_has_failed_is_not_used_again(watched: Watched) -> None:
    used: list[int] = []

    def work(lease: object) -> None:
        used.append(id(lease.session))  # type: ignore[attr-defined]
        kept.append(lease.session)  # type: ignore[attr-defined]
        if len(used) == 1:
            raise NotPossibleError("C_Sign", 0x70)

    kept: list[object] = []  # so that no other has its id
    with pytest.raises(NotPossibleError):
        watched.token.run(work)
    watched.token.run(work)
    watched.token.run(work)
    assert used[0] != used[1] == used[2]


def test_a_second_token_of_the_library_follows_and_no_call_of_either_fails(
    softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "DESTROYED_LIMIT", 100)
    faults = Faults(load(str(LIBRARY)))
    ledger = Ledger(faults)
    module = Module(faults.functions)
    labels = [new_token(softhsm), new_token(softhsm)]
    with opened_hsm(softhsm, module, label=labels[0]) as first, opened_hsm(softhsm, module, label=labels[1]) as second:
        both = [Watched(one, faults, ledger) for one in (first, second)]
        opened = [one.store.open_symmetric(kms_key(), generate(one.store)) for one in both]
        blobs = [one.encrypt(b"plaintext", {}) for one in opened]
        initialized = faults.calls["C_Initialize"]

        def work(number: int) -> None:
            for _ in range(100):
                assert opened[number % 2].decrypt(parse(blobs[number % 2]), {}) == b"plaintext"
                opened[number % 2].encrypt(b"plaintext", {})

        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(work, number) for number in range(THREADS)]:
                done.result()
        assert faults.calls["C_Initialize"] > initialized
        first.token.quarantine("a test")
        for _ in range(2):
            assert opened[1].decrypt(parse(blobs[1]), {}) == b"plaintext"
        both[0].wait_until_well()
        assert opened[0].decrypt(parse(blobs[0]), {}) == b"plaintext"
        assert len(ledger.sessions) <= 2 + THREADS
    assert ledger.wrong == []


def test_the_end_of_one_token_leaves_the_other_open(softhsm: SoftHsm) -> None:
    module = Module(load(str(LIBRARY)))
    labels = [new_token(softhsm), new_token(softhsm)]
    with opened_hsm(softhsm, module, label=labels[0]) as first:
        with opened_hsm(softhsm, module, label=labels[1]):
            pass
        assert len(first.token.run(lambda lease: lease.session.random(16))) == 16
    assert module.epoch == 0


def test_a_token_that_was_closed_is_not_used(softhsm: SoftHsm, label: str) -> None:
    with opened_hsm(softhsm, label=label) as hsm:
        pass
    with pytest.raises(KMSInternal):
        hsm.token.run(lambda lease: lease.session.random(1))
    hsm.token.quarantine("too late")
    assert hsm.token.quarantined is None


def test_a_token_that_is_not_there_is_named(softhsm: SoftHsm) -> None:
    with pytest.raises(HsmError, match=r"^there is no token 'nowhere'$"):
        probe_token(place_of(softhsm, "nowhere"))


def test_a_token_that_is_not_seen_at_first_is_looked_for_again(softhsm: SoftHsm, label: str) -> None:
    """As one of SoftHSM that another process is logging in to."""
    faults = Faults(load(str(LIBRARY)))
    blind = iter([True, True])

    def unseen(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if not next(blind, False):
            return call(*arguments)
        arguments[2]._obj.value = 0  # type: ignore[attr-defined]
        return p11.CKR_OK

    faults.set("C_GetSlotList", unseen)
    module = Module(faults.functions)
    assert module.has_token(label)
    blind = iter([True, True])
    with logged_in(softhsm, label, module) as session:
        assert len(session.random(8)) == 8


def test_a_token_whose_pin_is_locked_is_not_tried(softhsm: SoftHsm, label: str) -> None:
    faults = Faults(load(str(LIBRARY)))

    def locked(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        code = call(*arguments)
        arguments[1]._obj.flags |= p11.CKF_USER_PIN_LOCKED  # type: ignore[attr-defined]
        return code

    faults.set("C_GetTokenInfo", locked)
    with pytest.raises(HsmError, match=f"^the PIN of the token '{label}' is locked$"):
        probe_token(place_of(softhsm, label, Module(faults.functions)))
    assert faults.calls["C_Login"] == 0


def test_a_pin_that_the_token_refuses_is_told(softhsm: SoftHsm, label: str) -> None:
    right = softhsm.pin_file.read_text()
    softhsm.pin_file.write_text("0000")
    try:
        with pytest.raises(HsmError, match=f"^the token '{label}' refuses the PIN .*; it is not tried again$"):
            probe_token(place_of(softhsm, label))
    finally:
        softhsm.pin_file.write_text(right)


def test_a_token_with_other_keys_than_before_is_not_used(softhsm: SoftHsm, label: str) -> None:
    """Its test compares with what the keys did at the first opening."""
    found = iter([b"first", b"second", b"first"])
    known: list[bytes] = []

    def test(session: object, prepared: bytes) -> None:
        known[:] = known or [prepared]
        if prepared != known[0]:
            raise HsmError("the token holds other keys than before")

    place = place_of(softhsm, label)
    token = Token(place.module, label, place.pin, lambda _: next(found), test)
    token.open()
    try:
        token.quarantine("a test")
        deadline = time.monotonic() + RECOVERY_SECONDS
        while token.quarantined is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert token.run(lambda lease: lease.prepared) == b"first"
        assert next(found, None) is None
    finally:
        token.close()


def test_a_renewal_that_fails_lets_no_call_through(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is initialized anew by then, and what was prepared before is worth nothing."""
    key = kms_key()
    material = generate(watched.store, key)
    monkeypatch.setattr(token_module, "DESTROYED_LIMIT", 20)
    noting = watched.faults.calls["C_Initialize"]
    failing = threading.Event()

    def fail_after_renewal(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if watched.faults.calls["C_Initialize"] > noting and not failing.is_set():
            failing.set()
            return 0x06  # FUNCTION_FAILED, in the test of the token
        return call(*arguments)

    watched.faults.set("C_Sign", fail_after_renewal)
    outcomes = set()
    for _ in range(60):
        try:
            blob = watched.store.open_symmetric(key, material).encrypt(b"plaintext", {})
            outcomes.add(watched.store.open_symmetric(key, material).decrypt(parse(blob), {}))
        except KMSInternal:
            watched.wait_until_well()
    assert failing.is_set()
    assert outcomes == {b"plaintext"}


def test_a_login_that_hangs_while_the_token_is_opened_anew_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_module, "STUCK_SECONDS", 0.2)
    told, goes_on = threading.Event(), threading.Event()
    watched.token.on_stuck = lambda _: told.set()

    def hang(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        goes_on.wait(RECOVERY_SECONDS)
        return call(*arguments)

    watched.faults.set("C_Login", hang)
    watched.token.quarantine("a test")
    assert told.wait(RECOVERY_SECONDS)
    assert watched.token.quarantined is not None
    goes_on.set()
    watched.wait_until_well()


def test_a_slow_call_is_no_reason_to_quarantine_a_token_that_is_well(watched: Watched) -> None:
    returns, begun = threading.Event(), threading.Event()

    def slow(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        if not begun.is_set():
            begun.set()
            returns.wait(RECOVERY_SECONDS)
        return call(*arguments)

    watched.faults.set("C_GenerateRandom", slow)
    with ThreadPoolExecutor(1) as thread:
        drawing = thread.submit(watched.store.random_bytes, 8)
        assert begun.wait(RECOVERY_SECONDS)
        watched.token.examine("a call has not come back")
        for _ in range(20):
            watched.store.random_bytes(8)
            time.sleep(0.01)
        assert watched.token.quarantined is None
        returns.set()
        drawing.result()
