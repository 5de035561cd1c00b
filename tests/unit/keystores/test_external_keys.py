"""External keys: their formats to the byte, and nothing altered or of another key opens."""

import secrets
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ctypes import addressof, byref, create_string_buffer, sizeof
from hashlib import sha256
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from strongroom.crypto.xaes import XaesKey
from strongroom.errors import (
    ConfigurationError,
    HsmError,
    InvalidCiphertext,
    KeyUnavailable,
    KMSInternal,
    LimitExceeded,
    UnsupportedOperation,
)
from strongroom.keystores.contract import KeyStore, RawSymmetricKey
from strongroom.keystores.domain_keys import DomainKeys, generate_domain_keys
from strongroom.keystores.external_keys import (
    WELL_SECONDS,
    Encrypted,
    ExternalKeys,
    OpenedExternalKey,
    associated_data,
    key_and_material,
    with_material,
)
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.domain_keys import TokenKeys
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.store import HsmKeyStore
from strongroom.keystores.hsm.templates import secret_key
from strongroom.keystores.hsm.token import Lease
from strongroom.keystores.root_key import RootKey
from strongroom.keystores.software import SoftwareKeyStore, SoftwareSymmetricKey
from strongroom.messages.xks import integrity_value
from strongroom.model.key import KeyMaterial
from strongroom.model.xks import ExternalKey
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import IDS, Faults, new_token, opened_hsm, token_away
from tests.keys import generate, kms_key

RECOVERY_SECONDS = 20
PREFIX, KEY_ID = "/tenant-one", "key-1"
AAD = b"project=nile,department=marketing"


class Made(NamedTuple):
    """External keys of one kind, one of them, and how its encryptions are counted."""

    keys: ExternalKeys
    key_store: KeyStore
    one: ExternalKey
    counted: list[KeyMaterial]

    @property
    def opened(self) -> OpenedExternalKey:
        return self.keys.open(self.one)


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults(load(str(LIBRARY)))


@pytest.fixture(scope="module")
def token_label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture(scope="module")
def hsm(softhsm: SoftHsm, faults: Faults, token_label: str) -> Iterator[Hsm]:
    with opened_hsm(softhsm, Module(faults.functions), label=token_label) as hsm:
        yield hsm


@pytest.fixture(autouse=True)
def without_faults(faults: Faults) -> Iterator[None]:
    yield
    faults.clear()


def hsm_store(hsm: Hsm, count: Callable[[KeyMaterial], None] = lambda _: None, *, xaes: bool = True) -> HsmKeyStore:
    can = hsm.can._replace(xaes=xaes)
    return HsmKeyStore(hsm.token, can, allowed=("direct-gcm",), count_use=count, material_ids=IDS)


def over(store: HsmKeyStore) -> ExternalKeys:
    return ExternalKeys(store, store.objects)


@pytest.fixture(scope="module")
def in_software(root_key: RootKey) -> Made:
    domain_keys = DomainKeys.open(root_key, "installation", generate_domain_keys(root_key, "installation", 0.0).records)
    store = SoftwareKeyStore(domain_keys)
    keys = ExternalKeys(store, None)
    return Made(keys, store, keys.new(PREFIX, KEY_ID, 1.5), [])


@pytest.fixture(scope="module")
def in_hsm(hsm: Hsm) -> Made:
    store, counted = hsm_store(hsm), list[KeyMaterial]()
    return Made(over(store), store, over(store).new(PREFIX, KEY_ID, 1.5), counted)


@pytest.fixture(scope="module")
def direct(hsm: Hsm) -> Made:
    counted: list[KeyMaterial] = []
    store = hsm_store(hsm, counted.append, xaes=False)
    return Made(over(store), store, over(store).new(PREFIX, KEY_ID, 1.5), counted)


@pytest.fixture(scope="module")
def attached(hsm: Hsm) -> Made:
    counted: list[KeyMaterial] = []
    store = hsm_store(hsm, counted.append)
    put(hsm, "their key")
    return Made(over(store), store, over(store).attach(PREFIX, KEY_ID, "their key", 1.5, uses=0), counted)


@pytest.fixture(scope="module", params=["in_software", "in_hsm", "direct", "attached"])
def made(request: pytest.FixtureRequest) -> Made:
    found: Made = request.getfixturevalue(request.param)
    return found


AES_KEYS = Mechanism(p11.CKM_AES_KEY_GEN)
OTHER_KEYS = Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN)


def put(hsm: Hsm, label: str, changed: Mapping[int, Value] | None = None, mechanism: Mechanism = AES_KEYS) -> None:
    """Put an AES-256 key into the token, as its owner would; `changed` are other attributes."""
    template = Template(rules(label) | {p11.CKA_VALUE_LEN: 32} | dict(changed or {}))
    hsm.token.run(lambda lease: lease.session.generate_key(mechanism, template))


def rules(label: str) -> dict[int, Value]:
    usable = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT, token=True)
    return {**usable, p11.CKA_LABEL: label.encode()}


def remove(hsm: Hsm, label: str) -> None:
    def destroy(lease: Lease[TokenKeys]) -> None:
        for handle in lease.session.find(Template({p11.CKA_LABEL: label.encode()})):
            lease.session.destroy(handle)

    hsm.token.run(destroy)


def again(opened: OpenedExternalKey, encrypted: Encrypted, aad: bytes) -> bytes:
    """Decrypt what was encrypted."""
    return opened.decrypt(encrypted.ciphertext, encrypted.iv, encrypted.tag, encrypted.metadata, aad)


def with_part(parts: list[bytes], which: int, part: bytes) -> list[bytes]:
    """What is given to Decrypt, with one of it changed."""
    return [*parts[:which], part, *parts[which + 1 :]]


# The formats.


def framed(aad: bytes, metadata: bytes) -> bytes:
    """What is authenticated, put together by the format document."""
    return len(aad).to_bytes(2, "big") + aad + bytes([len(metadata)]) + metadata


def test_what_is_authenticated_is_as_the_specification_has_it() -> None:
    known = associated_data(AAD, b"key_version=1")
    assert known.hex() == "0021" + AAD.hex() + "0d" + b"key_version=1".hex()
    assert associated_data(b"", b"") == bytes(3)
    assert associated_data(bytes(65_535), b"\x02")[:2] == b"\xff\xff"


@given(one=st.tuples(st.binary(max_size=3), st.binary(max_size=3)), other=st.tuples(st.binary(max_size=3), st.binary()))
def test_nothing_else_gives_the_same_bytes(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    assert (associated_data(*one) == associated_data(*other)) == (one == other)


def test_the_integrity_value_is_the_specifications() -> None:
    aad = b64decode("cHJvamVjdD1uaWxlLGRlcGFydG1lbnQ9bWFya2V0aW5n")
    metadata = b64decode("a2V5X3ZlcnNpb249MQ==")
    iv, ciphertext = b64decode("HMrlRw85cAJUd5Ax"), b64decode("ghxkK1txeDNn3q8Y")
    tag = b64decode("vBxN2ncH1oEkR8WVXpmyYQ==")
    known = b64decode("qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=")
    assert integrity_value(aad, metadata, iv, ciphertext, tag) == known


def test_xaes_is_put_together_by_the_format_document() -> None:
    secret = secrets.token_bytes(32)
    opened = OpenedExternalKey(SoftwareSymmetricKey("ab" * 32, XaesKey(secret)))
    made = opened.encrypt(b"plaintext", AAD, integrity=True)
    assert (len(made.iv), len(made.tag), len(made.ciphertext)) == (12, 16, 9)
    assert (len(made.metadata), made.metadata[0]) == (13, 1)
    nonce = made.metadata[1:] + made.iv
    assert XaesKey(secret).open(nonce, made.ciphertext + made.tag, framed(AAD, made.metadata)) == b"plaintext"
    by_hand = XaesKey(secret).seal(bytes(range(24)), b"other", framed(b"", b"\x01" + bytes(range(12))))
    metadata, iv = b"\x01" + bytes(range(12)), bytes(range(12, 24))
    assert opened.decrypt(by_hand[:-16], iv, by_hand[-16:], metadata, b"") == b"other"
    for version in (0, 2, 3, 255):
        metadata = bytes([version, *range(12)])
        by_hand = XaesKey(secret).seal(bytes(range(24)), b"other", framed(b"", metadata))
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(by_hand[:-16], iv, by_hand[-16:], metadata, b"")


def test_aes_gcm_is_put_together_by_the_format_document(hsm: Hsm) -> None:
    secret = secrets.token_bytes(32)
    template = Template({**rules("known key"), p11.CKA_VALUE: secret})
    hsm.token.run(lambda lease: lease.session.create(template))
    keys = over(hsm_store(hsm))
    opened = keys.open(keys.attach(PREFIX, KEY_ID, "known key", 1.5, uses=0))
    made = opened.encrypt(b"plaintext", AAD, integrity=True)
    assert (len(made.iv), len(made.tag), len(made.ciphertext), made.metadata) == (12, 16, 9, b"\x02")
    cipher = AESGCM(secret)
    assert cipher.decrypt(made.iv, made.ciphertext + made.tag, framed(AAD, b"\x02")) == b"plaintext"
    by_hand = cipher.encrypt(bytes(12), b"other", framed(b"", b"\x02"))
    assert opened.decrypt(by_hand[:-16], bytes(12), by_hand[-16:], b"\x02", b"") == b"other"
    for version in (b"\x00", b"\x01", b"\x03", b"\xff"):
        by_hand = cipher.encrypt(bytes(12), b"other", framed(b"", version))
        with pytest.raises(InvalidCiphertext):
            opened.decrypt(by_hand[:-16], bytes(12), by_hand[-16:], version, b"")


def test_the_record_of_a_key_is_as_the_format_document_has_it(in_software: Made, in_hsm: Made, direct: Made) -> None:
    for made, algorithm, key_store, uses in (
        (in_software, 1, "software", None),
        (in_hsm, 1, "hsm", None),
        (direct, 2, "hsm", 0),
    ):
        one = made.one
        assert (one.prefix, one.external_key_id, one.created, one.enabled) == (PREFIX, KEY_ID, 1.5, True)
        assert (one.algorithm, one.key_store, one.domain_key_version, one.uses) == (algorithm, key_store, 1, uses)
        assert len(bytes.fromhex(one.material_id)) == 32
        assert one.wrapped
        assert one.recovery is None
    material_ids = {in_software.keys.new(PREFIX, KEY_ID, 1.5).material_id for _ in range(10)}
    assert len(material_ids) == 10


def test_a_key_that_is_wrapped_anew_has_been_used_as_often(direct: Made) -> None:
    used = replace(direct.one, uses=2**20)
    _, material = key_and_material(used)
    assert with_material(used, replace(material, wrapped=b"anew")) == replace(used, wrapped=b"anew")


# Use.


@given(plaintext=st.binary(max_size=300), aad=st.binary(max_size=300), integrity=st.booleans())
def test_decrypts_what_it_encrypted(made: Made, plaintext: bytes, aad: bytes, integrity: bool) -> None:  # noqa: FBT001
    encrypted = made.opened.encrypt(plaintext, aad, integrity=integrity)
    assert len(encrypted.ciphertext) == len(plaintext)
    assert len(encrypted.metadata) <= 20
    assert again(made.opened, encrypted, aad) == plaintext
    value = sha256(aad + encrypted.metadata + encrypted.iv + encrypted.ciphertext + encrypted.tag).digest()
    assert encrypted.integrity == (value if integrity else None)


@pytest.mark.parametrize("length", [0, 1, 4096, 4300, 8192])
@pytest.mark.parametrize("aad_length", [0, 1, 8192, 65_535])
def test_takes_all_that_kms_sends_and_more(made: Made, length: int, aad_length: int) -> None:
    plaintext, aad = secrets.token_bytes(length), secrets.token_bytes(aad_length)
    assert again(made.opened, made.opened.encrypt(plaintext, aad, integrity=True), aad) == plaintext


def test_more_is_not_supported(made: Made) -> None:
    encrypted = made.opened.encrypt(b"", b"", integrity=False)
    for attempt in (
        lambda: made.opened.encrypt(bytes(8193), b"", integrity=False),
        lambda: made.opened.encrypt(b"", bytes(65_536), integrity=True),
        lambda: again(made.opened, encrypted._replace(ciphertext=bytes(8193)), b""),
        lambda: again(made.opened, encrypted, bytes(65_536)),
    ):
        with pytest.raises(UnsupportedOperation, match=r"^At most \d+ bytes"):
            attempt()


def test_never_encrypts_the_same_way_twice(made: Made) -> None:
    encrypted = [made.opened.encrypt(b"same", b"", integrity=False) for _ in range(50)]
    assert len({one.metadata + one.iv for one in encrypted}) == 50
    assert len({one.iv for one in encrypted}) == 50
    assert len({one.ciphertext for one in encrypted}) == 50


def test_refuses_every_flipped_bit(made: Made) -> None:
    encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=True)
    parts = [encrypted.ciphertext, encrypted.iv, encrypted.tag, encrypted.metadata, AAD]
    for which, part in enumerate(parts):
        for bit in range(8 * len(part)):
            altered = bytearray(part)
            altered[bit // 8] ^= 1 << bit % 8
            with pytest.raises(InvalidCiphertext):
                made.opened.decrypt(*with_part(parts, which, bytes(altered)))
    assert made.opened.decrypt(*parts) == b"plaintext"


def test_refuses_parts_of_other_lengths(made: Made) -> None:
    encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=True)
    parts = [encrypted.ciphertext, encrypted.iv, encrypted.tag, encrypted.metadata, AAD]
    for which, part in enumerate(parts):
        for other in (b"", part[:-1], part[1:], part + b"\x00", b"\x00" + part, part + bytes(4), part + bytes(300)):
            if other != part:
                with pytest.raises(InvalidCiphertext):
                    made.opened.decrypt(*with_part(parts, which, other))
    divided_elsewhere = [encrypted.ciphertext + encrypted.tag[:1], encrypted.iv, encrypted.tag[1:], *parts[3:]]
    with pytest.raises(InvalidCiphertext):
        made.opened.decrypt(*divided_elsewhere)


def test_refuses_what_another_key_encrypted(made: Made, in_software: Made, in_hsm: Made) -> None:
    for prefix, external_key_id in ((PREFIX, KEY_ID), (PREFIX, "other"), ("/other", KEY_ID)):
        for keys in (in_software.keys, in_hsm.keys):
            encrypted = keys.open(keys.new(prefix, external_key_id, 1.5)).encrypt(b"plaintext", AAD, integrity=True)
            with pytest.raises(InvalidCiphertext):
                again(made.opened, encrypted, AAD)


def test_a_trial_that_fails_is_told_and_nothing_is_given_out(in_software: Made) -> None:
    class Wrong:
        """A key that does not do what it must."""

        def __init__(self, answer: bytes | None) -> None:
            self.answer = answer

        def __getattr__(self, name: str) -> object:
            return getattr(in_software.opened._key, name)

        def unseal(self, *_: bytes) -> bytes:
            if self.answer is None:
                raise InvalidCiphertext
            return self.answer

    for answer in (None, b"", b"plaintex", b"plaintexT"):
        wrong: RawSymmetricKey = Wrong(answer)  # type: ignore[assignment]
        with pytest.raises(KMSInternal, match=r"^What was encrypted did not decrypt\.$"):
            OpenedExternalKey(wrong).encrypt(b"plaintext", AAD, integrity=True)
        assert OpenedExternalKey(wrong).encrypt(b"plaintext", AAD, integrity=False).integrity is None


# Records.


def changes(one: ExternalKey) -> list[ExternalKey]:
    """Records that are altered, moved or copied."""
    return [
        replace(one, prefix=""),
        replace(one, prefix="/tenant-two"),
        replace(one, external_key_id="key-2"),
        replace(one, prefix=PREFIX + "k", external_key_id="ey-1"),
        replace(one, material_id="00" * 32),
        replace(one, algorithm=3 - one.algorithm),
        replace(one, algorithm=0),
        replace(one, algorithm=3),
        replace(one, domain_key_version=2),
        replace(one, wrapped=b""),
        replace(one, wrapped=one.wrapped[:-1] + bytes([one.wrapped[-1] ^ 1])),
        *(replace(one, key_store=name) for name in ("software", "hsm", "object", "other") if name != one.key_store),
    ]


@pytest.mark.parametrize("kind", ["in_software", "in_hsm", "direct"])
def test_an_altered_or_copied_record_does_not_open(request: pytest.FixtureRequest, kind: str) -> None:
    made: Made = request.getfixturevalue(kind)
    for altered in changes(made.one):
        with pytest.raises(KeyUnavailable):
            made.keys.open(altered)
    with pytest.raises(KeyUnavailable):
        made.keys.open(replace(made.one, wrapped=made.keys.new(PREFIX, KEY_ID, 1.5).wrapped))
    assert again(made.opened, made.opened.encrypt(b"p", b"", integrity=True), b"") == b"p"


@pytest.mark.parametrize("kind", ["in_software", "in_hsm", "direct"])
def test_a_kms_key_and_an_external_key_are_not_taken_for_each_other(request: pytest.FixtureRequest, kind: str) -> None:
    made: Made = request.getfixturevalue(kind)
    kms = kms_key()
    material = generate(made.key_store, kms)
    stolen = replace(
        made.one, prefix=kms.region, external_key_id=kms.key_id, material_id=material.material_id,
        wrapped=material.wrapped,
    )  # fmt: skip
    with pytest.raises(KeyUnavailable):
        made.keys.open(stolen)
    _, theirs = key_and_material(made.one)
    for key_id in (KEY_ID, kms.key_id):
        key = replace(kms, region=PREFIX, key_id=key_id)
        with pytest.raises(KeyUnavailable):
            made.key_store.open_symmetric(key, replace(theirs, account=kms.account, key_id=key_id))


def test_what_was_counted_or_disabled_opens_as_it_is_open_already(made: Made, faults: Faults) -> None:
    encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=False)
    calls = faults.calls["C_UnwrapKey"], faults.calls["C_FindObjects"]
    for changed in (replace(made.one, uses=2**20), replace(made.one, enabled=False)):
        assert again(made.keys.open(changed), encrypted, AAD) == b"plaintext"
    assert (faults.calls["C_UnwrapKey"], faults.calls["C_FindObjects"]) == calls


def test_what_is_forgotten_is_opened_again(made: Made, faults: Faults) -> None:
    encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=False)
    calls = faults.calls["C_UnwrapKey"] + faults.calls["C_FindObjects"]
    for _ in range(2):
        made.key_store.forget(PREFIX, made.one.material_id)
    assert again(made.opened, encrypted, AAD) == b"plaintext"
    more = faults.calls["C_UnwrapKey"] + faults.calls["C_FindObjects"] > calls
    assert more == (made.one.key_store != "software")


def test_each_direct_encryption_is_counted_for_its_key(direct: Made, attached: Made) -> None:
    for made in (direct, attached):
        made.counted.clear()
        encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=True)
        made.opened.encrypt(b"plaintext", AAD, integrity=False)
        again(made.opened, encrypted, AAD)
        assert len(made.counted) == 2
        for one in made.counted:
            assert (one.account, one.region, one.key_id) == ("xks-proxy", PREFIX, KEY_ID)
            assert one.material_id == made.one.material_id


def test_past_the_limit_nothing_is_encrypted_and_all_is_decrypted(hsm: Hsm, direct: Made, attached: Made) -> None:
    def refuse(_: KeyMaterial) -> None:
        raise LimitExceeded("too many")

    for made, store in ((direct, hsm_store(hsm, refuse, xaes=False)), (attached, hsm_store(hsm, refuse))):
        encrypted = made.opened.encrypt(b"plaintext", AAD, integrity=True)
        full = over(store).open(made.one)
        for integrity in (True, False):
            with pytest.raises(LimitExceeded):
                full.encrypt(b"plaintext", AAD, integrity=integrity)
        assert again(full, encrypted, AAD) == b"plaintext"


def test_direct_encryption_needs_leave(hsm: Hsm) -> None:
    can = hsm.can._replace(xaes=False)
    strict = HsmKeyStore(hsm.token, can, allowed=(), count_use=lambda _: None, material_ids=IDS)
    with pytest.raises(UnsupportedOperation):
        over(strict).new(PREFIX, KEY_ID, 1.5)
    assert over(strict).is_well(1.5), "objects can be attached"


def test_nothing_shows_a_secret(made: Made) -> None:
    for shown in (repr(made.one), repr(made.opened), repr(made.keys)):
        assert repr(made.one.wrapped) not in shown
        assert "XaesKey" not in shown


# Objects of the token.


def test_an_object_is_named_by_its_record(attached: Made) -> None:
    one = attached.one
    assert (one.algorithm, one.key_store, one.wrapped, one.uses) == (2, "object", b"their key", 0)
    assert (one.domain_key_version, one.recovery, one.enabled) == (0, None, True)


def test_without_an_hsm_there_are_no_objects(in_software: Made, attached: Made) -> None:
    with pytest.raises(ConfigurationError, match=r"^this installation has no HSM: there is no object to attach$"):
        in_software.keys.attach(PREFIX, KEY_ID, "their key", 1.5, uses=0)
    with pytest.raises(KeyUnavailable):
        in_software.keys.open(attached.one)


def test_what_names_an_object_otherwise_does_not_open(hsm: Hsm, attached: Made) -> None:
    for altered in (
        replace(attached.one, algorithm=1),
        replace(attached.one, algorithm=0),
        replace(attached.one, key_store="hsm"),
        replace(attached.one, wrapped=b""),
        replace(attached.one, wrapped=b"no such key"),
        replace(attached.one, wrapped=b"strongroom seeds v1"),
    ):
        with pytest.raises(KeyUnavailable):
            attached.keys.open(altered)
    key, material = key_and_material(replace(attached.one, key_store="hsm"))
    with pytest.raises(KeyUnavailable):
        hsm_store(hsm).objects.open(key, material)


REFUSED: dict[str, tuple[dict[int, Value], str]] = {
    "extractable": ({p11.CKA_EXTRACTABLE: True}, "the key 'bad' in the token can be taken out of the token"),
    "readable": ({p11.CKA_SENSITIVE: False}, "the key 'bad' in the token can be read"),
    "both": ({p11.CKA_SENSITIVE: False, p11.CKA_EXTRACTABLE: True}, "the key 'bad' in the token can be read"),
    "AES-128": ({p11.CKA_VALUE_LEN: 16}, "the key 'bad' in the token is not known to have 256 bits"),
    "AES-192": ({p11.CKA_VALUE_LEN: 24}, "the key 'bad' in the token is not known to have 256 bits"),
    "no encryption": ({p11.CKA_ENCRYPT: False}, "the key 'bad' in the token may not encrypt"),
    "no decryption": ({p11.CKA_DECRYPT: False}, "the key 'bad' in the token may not decrypt"),
    "other mechanisms": (
        {p11.CKA_ALLOWED_MECHANISMS: (p11.CKM_AES_CBC_PAD,)},
        "the key 'bad' in the token does not encrypt and decrypt with AES-GCM",
    ),
    "not in the token": ({p11.CKA_TOKEN: False}, "the token has no secret keys labelled 'bad'"),
}


@pytest.mark.parametrize(("changed", "told"), REFUSED.values(), ids=REFUSED)
def test_an_object_that_is_not_safe_or_not_usable_is_refused(hsm: Hsm, changed: dict[int, Value], told: str) -> None:
    keys = over(hsm_store(hsm))
    put(hsm, "bad")
    good = keys.attach(PREFIX, KEY_ID, "bad", 1.5, uses=0)
    remove(hsm, "bad")
    put(hsm, "bad", changed)
    try:
        with pytest.raises(HsmError, match=f"^{told}$"):
            keys.attach(PREFIX, KEY_ID, "bad", 1.5, uses=0)
        if p11.CKA_ALLOWED_MECHANISMS not in changed:
            with pytest.raises(KeyUnavailable):
                keys.open(good)
    finally:
        remove(hsm, "bad")
    assert hsm.token.quarantined is None


def test_a_key_of_another_type_is_refused(hsm: Hsm) -> None:
    put(hsm, "generic", {p11.CKA_KEY_TYPE: p11.CKK_GENERIC_SECRET}, OTHER_KEYS)
    with pytest.raises(HsmError, match=r"^the key 'generic' in the token is not an AES key$"):
        over(hsm_store(hsm)).attach(PREFIX, KEY_ID, "generic", 1.5, uses=0)


@pytest.mark.parametrize("label", ["no such key", "", "their ke", "their key ", "line\nbreak"])
def test_a_label_that_nothing_has_is_refused(attached: Made, label: str) -> None:
    with pytest.raises(HsmError) as refused:
        attached.keys.attach(PREFIX, KEY_ID, label, 1.5, uses=0)
    assert str(refused.value) == f"the token has no secret keys labelled {label!r}"


def test_two_objects_of_one_label_are_refused(hsm: Hsm) -> None:
    keys = over(hsm_store(hsm))
    put(hsm, "twice")
    one = keys.attach(PREFIX, KEY_ID, "twice", 1.5, uses=0)
    keys.open(one)
    put(hsm, "twice")
    with pytest.raises(HsmError, match=r"^the token has 2 secret keys labelled 'twice'$"):
        keys.attach(PREFIX, KEY_ID, "twice", 1.5, uses=0)
    with pytest.raises(KeyUnavailable):
        over(hsm_store(hsm)).open(one)


@pytest.mark.parametrize(
    "label", ["strongroom seeds v1", "strongroom integrity v1", "arn:aws:kms:us-east-1:111122223333:key/1234"]
)
def test_keys_of_a_kms_are_refused(hsm: Hsm, label: str) -> None:
    """The domain keys of an installation, and the KMS keys of a custom key store."""
    if label.startswith("arn:"):
        put(hsm, label)
    with pytest.raises(HsmError, match=f"^the key '{label}' in the token is a key of Strongroom or of a KMS$"):
        over(hsm_store(hsm)).attach(PREFIX, KEY_ID, label, 1.5, uses=0)


def test_an_object_that_is_gone_is_unavailable(hsm: Hsm) -> None:
    keys = over(hsm_store(hsm))
    put(hsm, "soon gone")
    one = keys.attach(PREFIX, KEY_ID, "soon gone", 1.5, uses=0)
    opened = keys.open(one)
    encrypted = opened.encrypt(b"plaintext", AAD, integrity=True)
    remove(hsm, "soon gone")
    for _ in range(2):
        with pytest.raises(KeyUnavailable):
            opened.encrypt(b"plaintext", AAD, integrity=True)
        with pytest.raises(KeyUnavailable):
            again(opened, encrypted, AAD)
    with pytest.raises(KeyUnavailable):
        over(hsm_store(hsm)).open(one)
    assert hsm.token.quarantined is None
    put(hsm, "soon gone")  # another key
    with pytest.raises(InvalidCiphertext):
        again(opened, encrypted, AAD)
    assert again(opened, opened.encrypt(b"p", b"", integrity=True), b"") == b"p"


def test_an_object_is_found_again_when_the_library_was_initialized_anew(hsm: Hsm, attached: Made) -> None:
    encrypted = attached.opened.encrypt(b"plaintext", AAD, integrity=True)
    hsm.token._renew()
    assert again(attached.opened, encrypted, AAD) == b"plaintext"


def test_an_object_is_never_destroyed(hsm: Hsm, attached: Made, faults: Faults) -> None:
    encrypted = attached.opened.encrypt(b"plaintext", AAD, integrity=True)
    destroyed = faults.calls["C_DestroyObject"]
    attached.key_store.forget(PREFIX, attached.one.material_id)
    again(attached.opened, encrypted, AAD)
    assert faults.calls["C_DestroyObject"] == destroyed
    assert hsm.token.quarantined is None


def test_a_token_that_seals_wrongly_is_found_out(hsm: Hsm, faults: Faults) -> None:
    """As one does that takes no nonce from us, or gives it back behind the tag."""

    def other_nonce(call: Callable[..., int], arguments: tuple[object, ...]) -> int:
        session, _, key = arguments
        parameters = p11.CK_GCM_PARAMS(addressof(zero), 12, 96, None, 0, 128)
        mechanism = p11.CK_MECHANISM(p11.CKM_AES_GCM, addressof(parameters), sizeof(parameters))
        return call(session, byref(mechanism), key)

    zero = create_string_buffer(12)
    put(hsm, "odd")
    faults.set("C_EncryptInit", other_nonce)
    with pytest.raises(HsmError, match=r"^the key 'odd' in the token does not encrypt and decrypt with AES-GCM$"):
        over(hsm_store(hsm)).attach(PREFIX, KEY_ID, "odd", 1.5, uses=0)


def test_a_token_that_answers_with_more_than_a_tag_is_found_out(hsm: Hsm, faults: Faults) -> None:
    """As one does that puts its nonce behind the tag, and takes it from there."""

    def encrypt(call: Callable[..., int], arguments: tuple[Any, ...]) -> int:
        code = call(*arguments)
        arguments[4]._obj.value += 12
        return code

    def decrypt(call: Callable[..., int], arguments: tuple[Any, ...]) -> int:
        session, ciphertext, length, *rest = arguments
        return call(session, ciphertext, length - 12, *rest)

    put(hsm, "longer")
    faults.set("C_Encrypt", encrypt)
    faults.set("C_Decrypt", decrypt)
    with pytest.raises(HsmError, match=r"^the key 'longer' in the token does not encrypt and decrypt with AES-GCM$"):
        over(hsm_store(hsm)).attach(PREFIX, KEY_ID, "longer", 1.5, uses=0)


def test_a_token_that_is_away_has_not_lost_its_objects(softhsm: SoftHsm, token_label: str, hsm: Hsm) -> None:
    put(hsm, "kept key")
    keys = over(hsm_store(hsm))
    one = keys.attach(PREFIX, KEY_ID, "kept key", 1.5, uses=0)
    with token_away(softhsm, token_label):
        with pytest.raises(KMSInternal):
            keys.open(one)
        assert not keys.is_well(1.5)
        with pytest.raises(KMSInternal):
            keys.attach(PREFIX, KEY_ID, "kept key", 1.5, uses=0)
    wait_until_well(hsm)
    opened = keys.open(one)
    assert again(opened, opened.encrypt(b"p", b"", integrity=True), b"") == b"p"


def wait_until_well(hsm: Hsm) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while hsm.token.quarantined is not None:
        assert time.monotonic() < deadline, hsm.token.quarantined
        time.sleep(0.01)


def test_a_token_that_fails_meanwhile_is_told(hsm: Hsm, faults: Faults) -> None:
    put(hsm, "fine")
    faults.fail("C_FindObjectsInit", 0x05, times=2)
    with pytest.raises(HsmError, match=r"^the key 'fine' in the token cannot be looked at: C_FindObjectsInit gave ba"):
        over(hsm_store(hsm)).attach(PREFIX, KEY_ID, "fine", 1.5, uses=0)


# Health.


def test_it_is_well_and_nothing_is_left_of_the_trial(made: Made) -> None:
    made.counted.clear()
    forgotten: list[tuple[str, str]] = []

    class Noting:
        """The key store, of which is noted what it forgets."""

        def __getattr__(self, name: str) -> object:
            return getattr(made.key_store, name)

        def forget(self, region: str, material_id: str) -> None:
            forgotten.append((region, material_id))
            made.key_store.forget(region, material_id)

    noting: KeyStore = Noting()  # type: ignore[assignment]
    assert ExternalKeys(noting, None).is_well(100.0)
    assert made.counted == []
    ((prefix, material_id),) = forgotten
    assert prefix == ""
    assert len(material_id) == 64


def test_it_is_looked_at_every_few_seconds_alone(hsm: Hsm, faults: Faults) -> None:
    keys = over(hsm_store(hsm))
    assert keys.is_well(100.0)
    calls = faults.calls["C_UnwrapKey"]
    assert keys.is_well(100.0 + WELL_SECONDS - 0.1)
    assert faults.calls["C_UnwrapKey"] == calls
    for now in (100.0 + WELL_SECONDS, 50.0):
        assert keys.is_well(now)
        calls += 1
        assert faults.calls["C_UnwrapKey"] == calls


def test_nobody_waits_for_another_who_looks(in_software: Made) -> None:
    looking, goes_on = threading.Event(), threading.Event()
    slow = [False]

    class Slow:
        """The key store, which is slow to make a key when it is told to."""

        def __getattr__(self, name: str) -> object:
            return getattr(in_software.key_store, name)

        def generate(self, *arguments: Any, **named: Any) -> KeyMaterial:
            if slow[0]:
                looking.set()
                assert goes_on.wait(10)
            return in_software.key_store.generate(*arguments, **named)

    store: KeyStore = Slow()  # type: ignore[assignment]
    keys = ExternalKeys(store, None)
    assert keys.is_well(100.0)
    slow[0] = True
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(keys.is_well, 200.0)
        assert looking.wait(10)
        assert keys.is_well(200.0), "as it was when it was looked at last"
        goes_on.set()
        assert other.result(10)


@pytest.mark.parametrize("function", ["C_GenerateRandom", "C_GenerateKey", "C_WrapKey", "C_UnwrapKey", "C_EncryptInit"])
@pytest.mark.parametrize("xaes", [True, False])
def test_a_token_that_fails_is_not_well_until_it_is(
    hsm: Hsm,
    faults: Faults,
    function: str,
    xaes: bool,  # noqa: FBT001
) -> None:
    keys = over(hsm_store(hsm, xaes=xaes))
    faults.fail(function, 0x06, times=100)
    assert not keys.is_well(100.0)
    faults.clear()
    assert not keys.is_well(101.0)
    assert keys.is_well(100.0 + WELL_SECONDS)
