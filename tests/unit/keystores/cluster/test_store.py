"""The key store in an HSM cluster: keys stay in the token, and whatever happens to them there is told."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from strongroom.crypto.ciphertext_blob import ALGORITHM_AES_256_GCM, ALGORITHM_XAES_256_GCM, parse
from strongroom.errors import (
    ConnectionFailedError,
    CustomKeyStoreInvalidState,
    InvalidCiphertext,
    KeyUnavailable,
    KMSInvalidState,
    LimitExceeded,
    UnsupportedOperation,
)
from strongroom.keystores.cluster import store as store_module
from strongroom.keystores.cluster.store import ClusterKeyStore
from strongroom.keystores.contract import CustomKeyStoreConnection
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm import token as token_module
from strongroom.keystores.hsm.arguments import Template, Value
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import FIRST_PAUSES, Module
from strongroom.keystores.hsm.session import Session
from strongroom.model.custom_key_store import KeyStoreUse
from strongroom.model.key import KeyMaterial, KmsKey
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import Faults, cluster_key_store, new_token, token_away
from tests.keys import kms_key

RECOVERY_SECONDS = 20
USE = KeyStoreUse("request", "Encrypt", "arn:aws:iam::111122223333:root")
AWAY = "^KMS cannot communicate with your CloudHSM cluster.$"
GONE = "^KMS cannot find the key material in the CloudHSM cluster.$"
KEY = kms_key()
CONTEXT = {"project": "nile"}


class Connected(NamedTuple):
    store: ClusterKeyStore
    faults: Faults
    module: Module
    label: str
    marker: Path


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def connected(label: str, tmp_path: Path) -> Iterator[Connected]:
    faults = Faults(load(str(LIBRARY)))
    module, marker = Module(faults.functions), tmp_path / "refused"
    with cluster_key_store(label, marker, module) as store:
        yield Connected(store, faults, module, label, marker)
    assert module.users == 0
    assert module.epoch == 0


def made(store: ClusterKeyStore, key: KmsKey = KEY) -> KeyMaterial:
    return store.new_material(USE, key, material_id=secrets.token_hex(32), created=1.5)


def round_trip(store: ClusterKeyStore, material: KeyMaterial, key: KmsKey = KEY) -> None:
    opened = store.open_symmetric(USE, key, material)
    assert opened.decrypt(parse(opened.encrypt(b"plaintext", CONTEXT)), CONTEXT) == b"plaintext"


def in_token(connected: Connected, work: Callable[[Session], object]) -> None:
    """Do something that another client of the cluster does."""
    opened = connected.store._opened()
    opened.token.run(lambda lease: work(lease.session))


def handles(session: Session, material: KeyMaterial) -> list[int]:
    return session.find(Template({p11.CKA_ID: material.wrapped}))


def wait_until_well(store: ClusterKeyStore) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while store.check("request") is not None:
        assert time.monotonic() < deadline, store.check("request")
        time.sleep(0.01)


def test_it_keeps_to_the_contract(connected: Connected) -> None:
    connection: CustomKeyStoreConnection = connected.store
    assert connection.calls is connected.store.calls


def test_a_key_lives_in_the_token_alone(connected: Connected) -> None:
    store = connected.store
    store.connect("request")
    material = made(store)
    assert (material.key_store, material.domain_key_version, material.created) == ("cluster", 0, 1.5)
    assert material.wrapped.hex() == material.material_id
    assert material.algorithm == ALGORITHM_XAES_256_GCM
    opened = store.open_symmetric(USE, KEY, material)
    blob = opened.encrypt(b"plaintext", CONTEXT)
    assert parse(blob).algorithm == ALGORITHM_XAES_256_GCM
    assert opened.decrypt(parse(blob), CONTEXT) == b"plaintext"
    with pytest.raises(InvalidCiphertext):
        opened.decrypt(parse(blob), {"project": "niger"})
    with pytest.raises(InvalidCiphertext):
        opened.decrypt(parse(blob[:-1] + bytes([blob[-1] ^ 1])), CONTEXT)
    with pytest.raises(InvalidCiphertext):
        store.open_symmetric(USE, KEY, made(store)).decrypt(parse(blob), CONTEXT)
    assert store.destroy(KEY.arn, [material.material_id]) == {material.material_id}
    with pytest.raises(KMSInvalidState, match=GONE):
        opened.encrypt(b"plaintext", CONTEXT)


@pytest.mark.parametrize("direct", [False, True])
def test_its_object_cannot_be_read_taken_out_or_used_otherwise(connected: Connected, direct: bool) -> None:  # noqa: FBT001
    if direct:
        connected.faults.fail("C_DeriveKey", 0x70, times=1_000)
    material = made(connected.store)
    told: dict[int, bytes | None] = {}
    usages = (
        p11.CKA_ENCRYPT, p11.CKA_DECRYPT, p11.CKA_SIGN, p11.CKA_VERIFY, p11.CKA_WRAP, p11.CKA_UNWRAP, p11.CKA_DERIVE,
    )  # fmt: skip
    flags = (
        p11.CKA_TOKEN, p11.CKA_PRIVATE, p11.CKA_SENSITIVE, p11.CKA_EXTRACTABLE, p11.CKA_NEVER_EXTRACTABLE,
        p11.CKA_MODIFIABLE, p11.CKA_COPYABLE,
    )  # fmt: skip
    asked = (*usages, *flags, p11.CKA_LABEL, p11.CKA_ID, p11.CKA_VALUE, p11.CKA_VALUE_LEN, p11.CKA_ALLOWED_MECHANISMS)

    def look(session: Session) -> None:
        (handle,) = handles(session, material)
        told.update(zip(asked, session.attributes(handle, asked), strict=True))

    in_token(connected, look)
    allowed = {p11.CKA_ENCRYPT, p11.CKA_DECRYPT} if direct else {p11.CKA_DERIVE}
    assert {one for one in usages if told[one] == b"\x01"} == allowed
    assert [told[one] for one in flags] == [b"\x01", b"\x01", b"\x01", b"\x00", b"\x01", b"\x00", b"\x00"]
    assert told[p11.CKA_LABEL] == KEY.arn.encode()
    assert told[p11.CKA_ID] == material.wrapped
    assert told[p11.CKA_VALUE] is None
    assert told[p11.CKA_VALUE_LEN] == (32).to_bytes(8, sys.byteorder)
    mechanism = p11.CKM_AES_GCM if direct else p11.CKM_AES_ECB_ENCRYPT_DATA
    assert told[p11.CKA_ALLOWED_MECHANISMS] == mechanism.to_bytes(8, sys.byteorder)


def test_a_token_that_cannot_derive_encrypts_with_the_key_itself_and_is_counted(label: str, tmp_path: Path) -> None:
    faults = Faults(load(str(LIBRARY)))
    faults.fail("C_DeriveKey", 0x70, times=1_000)
    counted: list[KeyMaterial] = []

    def count(material: KeyMaterial) -> None:
        counted.append(material)
        if len(counted) > 2:
            raise LimitExceeded("too many")

    with cluster_key_store(label, tmp_path / "refused", Module(faults.functions), count_use=count) as store:
        material = made(store)
        assert material.algorithm == ALGORITHM_AES_256_GCM
        assert material.uses is None
        round_trip(store, material)
        opened = store.open_symmetric(USE, KEY, material)
        blob = opened.encrypt(b"plaintext", CONTEXT)
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(parse(blob), {})
        with pytest.raises(LimitExceeded):
            opened.encrypt(b"plaintext", CONTEXT)
        assert counted == [material] * 3


def test_a_key_is_there_in_another_process_that_connects(connected: Connected) -> None:
    material = made(connected.store)
    blob = connected.store.open_symmetric(USE, KEY, material).encrypt(b"plaintext", CONTEXT)
    connected.store.close()
    with cluster_key_store(connected.label, connected.marker, connected.module) as other:
        assert other.open_symmetric(USE, KEY, material).decrypt(parse(blob), CONTEXT) == b"plaintext"


def test_a_key_that_is_forgotten_stays_in_the_token(connected: Connected) -> None:
    material = made(connected.store)
    round_trip(connected.store, material)
    for _ in range(2):
        connected.store.forget(KEY.region, material.material_id)
    destroyed = connected.faults.calls["C_DestroyObject"]
    found = connected.faults.calls["C_FindObjects"]
    connected.store.open_symmetric(USE, KEY, material)
    assert connected.faults.calls["C_FindObjects"] > found
    assert connected.faults.calls["C_DestroyObject"] == destroyed + 1, "what the subkey is made of"
    found = connected.faults.calls["C_FindObjects"]
    round_trip(connected.store, material)
    assert connected.faults.calls["C_FindObjects"] == found


def test_what_is_of_another_key_or_kind_is_not_opened(connected: Connected) -> None:
    store = connected.store
    material = made(store)
    other = kms_key(key_id="4321abcd-12ab-34cd-56ef-1234567890ab")
    with pytest.raises(KMSInvalidState, match=GONE):
        store.open_symmetric(USE, other, material)
    for wrong in (replace(material, key_store="hsm"), replace(material, algorithm=9)):
        with pytest.raises(KeyUnavailable):
            store.open_symmetric(USE, KEY, wrong)
    with pytest.raises(UnsupportedOperation):
        made(store, kms_key("HMAC_256", "GENERATE_VERIFY_MAC"))
    round_trip(store, material)


def test_an_object_that_somebody_destroyed_is_told_and_one_that_can_be_read_is_not_used(connected: Connected) -> None:
    material, other = made(connected.store), made(connected.store)
    opened = connected.store.open_symmetric(USE, KEY, material)
    in_token(connected, lambda session: session.destroy(*handles(session, material)))
    for _ in range(2):
        with pytest.raises(KMSInvalidState, match=GONE):
            opened.encrypt(b"plaintext", CONTEXT)
    planted: dict[int, Value] = {
        p11.CKA_CLASS: p11.CKO_SECRET_KEY,
        p11.CKA_KEY_TYPE: p11.CKK_AES,
        p11.CKA_TOKEN: True,
        p11.CKA_SENSITIVE: False,
        p11.CKA_EXTRACTABLE: True,
        p11.CKA_DERIVE: True,
        p11.CKA_VALUE: bytes(32),
        p11.CKA_LABEL: KEY.arn.encode(),
        p11.CKA_ID: material.wrapped,
    }
    in_token(connected, lambda session: session.create(Template(planted)))
    with pytest.raises(KMSInvalidState, match=GONE):
        opened.encrypt(b"plaintext", CONTEXT)
    connected.store.forget(KEY.region, material.material_id)
    with pytest.raises(KMSInvalidState, match=GONE):
        connected.store.open_symmetric(USE, KEY, material)
    assert connected.store.check("request") is None
    round_trip(connected.store, other)
    assert connected.store.destroy(KEY.arn, [material.material_id]) == {material.material_id}


def test_what_is_destroyed_is_told(connected: Connected, softhsm: SoftHsm) -> None:
    store = connected.store
    ids = [made(store).material_id for _ in range(2)]
    never = secrets.token_hex(32)
    assert store.destroy(KEY.arn, [ids[0], never]) == {ids[0], never}, "of which there is none left"
    connected.faults.fail("C_DestroyObject", 0x1B, times=1)  # ACTION_PROHIBITED
    assert store.destroy(KEY.arn, [ids[1]]) == set()
    with token_away(softhsm, connected.label):
        assert store.destroy(KEY.arn, ids) == set()
    wait_until_well(store)
    assert store.destroy(KEY.arn, ids) == set(ids)


def test_a_key_that_did_not_come_into_being_is_taken_back(connected: Connected) -> None:
    store = connected.store
    material = made(store)
    for _ in range(2):
        store.discard(KEY, material.material_id)
    in_token(connected, lambda session: unused(session, material))
    store.close()
    store.discard(KEY, material.material_id)


def unused(session: Session, material: KeyMaterial) -> None:
    assert handles(session, material) == []


@pytest.mark.parametrize("code", [0x30, 0xB3, 0x05])
def test_a_generation_whose_outcome_is_lost_leaves_at_most_one_key(connected: Connected, code: int) -> None:
    """The token has made the key, and its answer does not arrive."""
    store = connected.store
    store.connect("request")
    left = [1]

    def lose(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        done = call(*arguments)
        left[0] -= 1
        return done if left[0] < 0 else code

    connected.faults.set("C_GenerateKey", lose)
    material_id = secrets.token_hex(32)
    try:
        material = store.new_material(USE, KEY, material_id=material_id, created=1.5)
    except CustomKeyStoreInvalidState:
        wait_until_well(store)
        assert store.destroy(KEY.arn, [material_id]) == {material_id}
    else:
        round_trip(store, material)


def test_a_token_that_was_away_needs_no_restart(
    connected: Connected, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library sees it again only when it has been initialized anew."""
    monkeypatch.setattr(token_module, "LONGEST_PAUSE", 0.2)
    store = connected.store
    materials = [made(store) for _ in range(2)]
    opened = store.open_symmetric(USE, KEY, materials[0])
    blob = opened.encrypt(b"plaintext", CONTEXT)
    with token_away(softhsm, connected.label):
        for attempt in (
            lambda: opened.encrypt(b"plaintext", CONTEXT),
            lambda: opened.decrypt(parse(blob), CONTEXT),
            lambda: store.open_symmetric(USE, KEY, materials[1]),
            lambda: store.random_bytes(16),
        ):
            with pytest.raises(KMSInvalidState, match=AWAY):
                attempt()
        with pytest.raises(CustomKeyStoreInvalidState, match=AWAY):
            made(store)
        assert store.check("request") is not None
        assert not connected.module.has_token(connected.label)
        initialized = connected.faults.calls["C_Initialize"]
        while connected.faults.calls["C_Initialize"] < initialized + 2:
            time.sleep(0.01)
    wait_until_well(store)
    assert opened.decrypt(parse(blob), CONTEXT) == b"plaintext"
    for material in (*materials, made(store)):
        round_trip(store, material)
    assert len(store.random_bytes(16)) == 16
    assert store.random_bytes(0) == b""


def test_a_token_that_is_away_is_noticed_though_keys_that_are_open_go_on(
    connected: Connected, softhsm: SoftHsm
) -> None:
    store = connected.store
    made(store)
    with token_away(softhsm, connected.label):
        connected.faults.fail("C_GenerateRandom", 0x05, times=2)
        with pytest.raises(KMSInvalidState, match=AWAY):
            store.random_bytes(1)
        assert store.check("request") is not None
    wait_until_well(store)


@pytest.mark.parametrize("code", [0xB3, 0x30, 0x190, 0x101, 0x60])
def test_sessions_tokens_and_libraries_that_are_lost_come_back(connected: Connected, code: int) -> None:
    store = connected.store
    material = made(store)
    opened = store.open_symmetric(USE, KEY, material)
    for call in ("C_DeriveKey", "C_EncryptInit", "C_DecryptInit", "C_FindObjectsInit", "C_OpenSession"):
        connected.faults.fail(call, code)
        with suppress(KMSInvalidState):
            opened.decrypt(parse(opened.encrypt(b"plaintext", {})), {})
        connected.faults.clear()
        wait_until_well(store)
        round_trip(store, material)


def test_one_that_is_closed_does_nothing_more(connected: Connected) -> None:
    material = made(connected.store)
    opened = connected.store.open_symmetric(USE, KEY, material)
    for _ in range(2):
        connected.store.close()
    connected.store.forget(KEY.region, material.material_id)
    with pytest.raises(KMSInvalidState, match=AWAY):
        opened.encrypt(b"", {})
    with pytest.raises(KMSInvalidState, match=AWAY):
        connected.store.random_bytes(1)
    with pytest.raises(ConnectionFailedError, match=r"^INTERNAL_ERROR: the key store is disconnected$"):
        connected.store.connect("request")
    assert connected.module.epoch == 0


def test_a_token_that_cannot_be_opened_is_left_alone_for_a_moment(
    connected: Connected, softhsm: SoftHsm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = connected.store
    monkeypatch.setattr(store_module, "_PAUSE_SECONDS", 0.05)
    with token_away(softhsm, connected.label):
        for _ in range(2):
            with pytest.raises(KMSInvalidState, match=AWAY):
                store.random_bytes(1)
        assert connected.faults.calls["C_Initialize"] == 1 + len(FIRST_PAUSES)  # of the first of the two
    told = f"strongroom: the token '{connected.label}' is not opened: INSUFFICIENT_CLOUDHSM_HSMS: there is no token"
    assert capsys.readouterr().err == f"{told} '{connected.label}'\n"
    time.sleep(0.1)
    assert len(store.random_bytes(1)) == 1
