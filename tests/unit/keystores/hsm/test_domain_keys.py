"""The keys that live in the token: which are taken, and what whoever has the PIN can do with them: nothing of use."""

import ctypes
import secrets
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from strongroom.errors import HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.capabilities import Capabilities
from strongroom.keystores.hsm.domain_keys import (
    INTEGRITY,
    PURPOSES,
    SEEDS,
    SERVICE_KEYS,
    TokenKeys,
    destroy_domain_keys,
    find_domain_keys,
    make_domain_keys,
)
from strongroom.keystores.hsm.failures import NotPossibleError, Pkcs11Error, UnclearError
from strongroom.keystores.hsm.mechanisms import wrapping_mechanism
from strongroom.keystores.hsm.module import open_module
from strongroom.keystores.hsm.proofs import probe
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import CLASSES, MaterialClass, private_key, public_key, secret_key
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import logged_in, new_token

AES = Mechanism(p11.CKM_AES_KEY_GEN)
CKM_AES_KEY_WRAP = 0x2109
P256 = bytes.fromhex("06082a8648ce3d030107")
USAGES = {
    name: getattr(p11, f"CKA_{name}")
    for name in ("ENCRYPT", "DECRYPT", "SIGN", "SIGN_RECOVER", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
}
OTHER_TYPE = {
    p11.CKK_AES: p11.CKK_GENERIC_SECRET,
    p11.CKK_GENERIC_SECRET: p11.CKK_AES,
    p11.CKK_RSA: p11.CKK_EC,
    p11.CKK_EC: p11.CKK_RSA,
}


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def session(softhsm: SoftHsm, label: str) -> Iterator[Session]:
    """A session of somebody who has the PIN. Each test opens the token anew."""
    with logged_in(softhsm, label) as session:
        yield session


@pytest.fixture(scope="module")
def can(softhsm: SoftHsm, label: str) -> Capabilities:
    with logged_in(softhsm, label) as session:
        return probe(open_module(str(LIBRARY)), session)


@pytest.fixture(scope="module")
def installation_id(softhsm: SoftHsm, label: str, can: Capabilities) -> str:
    """An installation with domain keys in the token."""
    installation_id = str(uuid.uuid4())
    with logged_in(softhsm, label) as session:
        make_domain_keys(session, installation_id, 1, can)
    return installation_id


@pytest.fixture
def keys(session: Session, installation_id: str, can: Capabilities) -> TokenKeys:
    return find_domain_keys(session, installation_id, {1}, can)


def rules(installation_id: str, purpose: str, **others: Value) -> dict[int, Value]:
    """The attributes of an AES key that looks like a domain key."""
    return {
        **secret_key(p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP, token=True),
        p11.CKA_ID: uuid.UUID(installation_id).bytes,
        p11.CKA_LABEL: f"strongroom {purpose} v1".encode(),
        **{getattr(p11, name): value for name, value in others.items()},
    }


def test_there_is_one_of_each_purpose_and_all_are_another_key(keys: TokenKeys) -> None:
    assert set(keys.handles) == set(PURPOSES) == {INTEGRITY, SERVICE_KEYS, SEEDS, *CLASSES}
    handles = [handle for versions in keys.handles.values() for handle in versions.values()]
    assert len(set(handles)) == len(PURPOSES)
    assert keys.newest(SEEDS) == (1, keys.handles[SEEDS][1])


def test_a_version_is_made_once(session: Session, can: Capabilities, installation_id: str) -> None:
    with pytest.raises(HsmError, match=r"^the token has a key strongroom integrity v1 of this installation already$"):
        make_domain_keys(session, installation_id, 1, can)


def test_versions_and_installations_are_kept_apart(session: Session, can: Capabilities, installation_id: str) -> None:
    other = str(uuid.uuid4())
    make_domain_keys(session, installation_id, 2, can)
    make_domain_keys(session, other, 2, can)
    both = find_domain_keys(session, installation_id, {1, 2}, can)
    assert {version for version, _ in map(both.newest, PURPOSES)} == {2}
    theirs = find_domain_keys(session, other, {2}, can)
    assert not {theirs.newest(purpose)[1] for purpose in PURPOSES} & {both.newest(purpose)[1] for purpose in PURPOSES}
    destroy_domain_keys(session, other, 2)
    destroy_domain_keys(session, installation_id, 2)
    destroy_domain_keys(session, installation_id, 2)
    assert set(find_domain_keys(session, installation_id, {1}, can).handles) == set(PURPOSES)
    with pytest.raises(HsmError, match="the token has no key 'strongroom integrity v2' of installation"):
        find_domain_keys(session, installation_id, {1, 2}, can)


def test_a_missing_one_is_named(session: Session, can: Capabilities) -> None:
    installation_id = str(uuid.uuid4())
    make_domain_keys(session, installation_id, 1, can)
    keys = find_domain_keys(session, installation_id, {1}, can)
    for purpose in reversed(PURPOSES):  # the first that is missing is named
        session.destroy(keys.handles[purpose][1])
        told = f"^the token has no key 'strongroom {purpose} v1' of installation {installation_id}$"
        with pytest.raises(HsmError, match=told):
            find_domain_keys(session, installation_id, {1}, can)


@pytest.mark.parametrize("purpose", [INTEGRITY, SEEDS, "hmac"])
def test_one_that_is_there_twice_is_named(
    session: Session, installation_id: str, purpose: str, can: Capabilities
) -> None:
    second = session.generate_key(AES, Template({**rules(installation_id, purpose), p11.CKA_VALUE_LEN: 32}))
    with pytest.raises(HsmError, match=f"^the token has 2 keys 'strongroom {purpose} v1' of installation"):
        find_domain_keys(session, installation_id, {1}, can)
    session.destroy(second)
    find_domain_keys(session, installation_id, {1}, can)


WEAK: tuple[dict[str, Value], ...] = (
    {"CKA_EXTRACTABLE": True},
    {"CKA_SENSITIVE": False},
    {"CKA_TOKEN": False},
    {"CKA_VALUE": secrets.token_bytes(32)},  # was known outside of the token
    {"CKA_ENCRYPT": True},
    {"CKA_DECRYPT": True},
    {"CKA_MODIFIABLE": True},
    {"CKA_COPYABLE": True},
    {"CKA_ALLOWED_MECHANISMS": (p11.CKM_AES_KEY_WRAP_PAD, p11.CKM_AES_CBC_PAD)},
)


@pytest.mark.parametrize("weak", WEAK, ids=lambda weak: next(iter(weak)))
def test_one_in_its_place_that_is_weaker_is_refused(
    session: Session, can: Capabilities, weak: dict[str, Value]
) -> None:
    told = "^the key 'strongroom hmac v1' in the token is not as it was made: it could be used otherwise$"
    assert_refused_in_place(session, can, told, _with_template(can) | {getattr(p11, name): weak[name] for name in weak})


def test_one_in_its_place_that_opens_keys_otherwise_is_refused(session: Session, can: Capabilities) -> None:
    told = "^the key 'strongroom hmac v1' in the token is not as it was made: it opens keys so that they can be read$"
    template = _with_template(can)
    del template[p11.CKA_UNWRAP_TEMPLATE]
    assert_refused_in_place(session, can, told, template)


def test_one_in_its_place_that_keeps_to_every_rule_is_taken(session: Session, can: Capabilities) -> None:
    """Else the tests before would prove nothing. What the first one wrapped does not open with it."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        assert_refused_in_place(session, can, "^nothing$", _with_template(can))


def _with_template(can: Capabilities) -> dict[int, Value]:
    """What `hmac` is made with."""
    assert can.wrap is not None
    return {
        p11.CKA_ALLOWED_MECHANISMS: (can.wrap,),
        p11.CKA_UNWRAP_TEMPLATE: can.opened_attributes(CLASSES["hmac"]),
        **can.frozen(),
    }


def assert_refused_in_place(session: Session, can: Capabilities, told: str, attributes: dict[int, Value]) -> None:
    """Put another key into the place of `hmac`, and see it refused."""
    installation_id = str(uuid.uuid4())
    make_domain_keys(session, installation_id, 1, can)
    try:
        session.destroy(find_domain_keys(session, installation_id, {1}, can).handles["hmac"][1])
        template = rules(installation_id, "hmac") | attributes
        if p11.CKA_VALUE in template:
            session.create(Template(template))
        else:
            session.generate_key(AES, Template({**template, p11.CKA_VALUE_LEN: 32}))
        with pytest.raises(HsmError, match=told):
            find_domain_keys(session, installation_id, {1}, can)
    finally:
        destroy_domain_keys(session, installation_id, 1)


def refused(attempt: Callable[[], object]) -> bool:
    """Whether the token refuses, by itself."""
    try:
        attempt()
    except (NotPossibleError, UnclearError):
        return True
    return False


def wrapped_material(session: Session, can: Capabilities, keys: TokenKeys, kind: MaterialClass) -> bytes:
    """Material of a class as the domain key of its class wraps it, which is what the database holds."""
    made = can.made_attributes(kind)
    match kind.key_type:
        case p11.CKK_AES:
            handle = session.generate_key(AES, Template({**made, p11.CKA_VALUE_LEN: 32}))
        case p11.CKK_GENERIC_SECRET:
            mechanism = Mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN)
            handle = session.generate_key(mechanism, Template({**made, p11.CKA_VALUE_LEN: 32}))
        case p11.CKK_RSA:
            public = public_key(p11.CKK_RSA, CKA_MODULUS_BITS=2048, CKA_PUBLIC_EXPONENT=b"\x01\x00\x01")
            _, handle = session.generate_pair(
                Mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN), Template(public), Template(made)
            )
        case _:
            public = public_key(p11.CKK_EC, CKA_EC_PARAMS=P256)
            _, handle = session.generate_pair(Mechanism(p11.CKM_EC_KEY_PAIR_GEN), Template(public), Template(made))
    assert can.wrap is not None
    return session.wrap(wrapping_mechanism(can.wrap, b""), keys.newest(kind.name)[1], handle)


@pytest.fixture(scope="module")
def stored(softhsm: SoftHsm, label: str, can: Capabilities, installation_id: str) -> dict[str, bytes]:
    """Wrapped material of each class. Its token was closed since."""
    with logged_in(softhsm, label) as session:
        keys = find_domain_keys(session, installation_id, {1}, can)
        return {name: wrapped_material(session, can, keys, kind) for name, kind in CLASSES.items()}


def unwrap(
    session: Session, can: Capabilities, keys: TokenKeys, purpose: str, wrapped: bytes, template: dict[int, Value]
) -> int:
    assert can.wrap is not None
    mechanism = wrapping_mechanism(can.wrap, b"")
    return session.unwrap(mechanism, keys.newest(purpose)[1], wrapped, Template(template))


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_stored_material_opens_as_what_it_is_and_as_nothing_else(
    session: Session, can: Capabilities, keys: TokenKeys, stored: dict[str, bytes], kind: MaterialClass
) -> None:
    wrapped, right = stored[kind.name], can.opened_attributes(kind)
    session.destroy(unwrap(session, can, keys, kind.name, wrapped, right))
    other_class = p11.CKO_SECRET_KEY if kind.pair else p11.CKO_PRIVATE_KEY
    weaker: dict[str, dict[int, Value]] = {
        "extractable": {p11.CKA_EXTRACTABLE: True},
        "readable": {p11.CKA_SENSITIVE: False},
        "both": {p11.CKA_EXTRACTABLE: True, p11.CKA_SENSITIVE: False},
        "for good": {p11.CKA_TOKEN: True},
        "without login": {p11.CKA_PRIVATE: False},
        "another type": {p11.CKA_KEY_TYPE: OTHER_TYPE[kind.key_type]},
        "another class": {p11.CKA_CLASS: other_class},
        "modifiable": {p11.CKA_MODIFIABLE: True},
        "other mechanisms": {p11.CKA_ALLOWED_MECHANISMS: (p11.CKM_AES_CBC_PAD,)},
        "more mechanisms": {p11.CKA_ALLOWED_MECHANISMS: (*kind.mechanisms, p11.CKM_AES_CBC_PAD)},
        **{f"may {name}": {usage: True} for name, usage in USAGES.items() if right.get(usage) is False},
    }
    attributes: dict[int, Value]
    for name, attributes in weaker.items():
        loose = {**right, **attributes}
        assert refused(lambda loose=loose: unwrap(session, can, keys, kind.name, wrapped, loose)), name  # type: ignore[misc]


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_what_is_left_unsaid_of_stored_material_is_as_strict(
    session: Session, can: Capabilities, keys: TokenKeys, stored: dict[str, bytes], kind: MaterialClass
) -> None:
    wrapped, right = stored[kind.name], can.opened_attributes(kind)
    flags = [attribute for attribute, value in right.items() if isinstance(value, bool)]
    for unsaid in (*([one] for one in right), flags, [one for one in right if one != p11.CKA_CLASS]):
        template = {attribute: value for attribute, value in right.items() if attribute not in unsaid}
        try:
            handle = unwrap(session, can, keys, kind.name, wrapped, template)
        except Pkcs11Error:
            continue  # the better for it
        told = session.attributes(handle, flags)
        assert told == [bytes([bool(right[flag])]) for flag in flags]
        (listed,) = session.attributes(handle, [p11.CKA_ALLOWED_MECHANISMS])
        mechanisms = {
            int.from_bytes((listed or b"")[at : at + 8], sys.byteorder) for at in range(0, len(listed or b""), 8)
        }
        assert mechanisms == set(kind.mechanisms)


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_stored_material_opens_with_the_key_of_no_other_class(
    session: Session, can: Capabilities, keys: TokenKeys, stored: dict[str, bytes], kind: MaterialClass
) -> None:
    for other in CLASSES.values():
        if other is not kind:
            for template in (can.opened_attributes(kind), can.opened_attributes(other)):
                with pytest.raises(Pkcs11Error):
                    unwrap(session, can, keys, other.name, stored[kind.name], template)


@pytest.mark.parametrize("kind", CLASSES.values(), ids=CLASSES)
def test_opened_material_cannot_be_wrapped_again(
    session: Session, can: Capabilities, keys: TokenKeys, stored: dict[str, bytes], kind: MaterialClass
) -> None:
    handle = unwrap(session, can, keys, kind.name, stored[kind.name], can.opened_attributes(kind))
    own = session.create(Template({**secret_key(p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP), p11.CKA_VALUE: bytes(32)}))
    assert can.wrap is not None
    for wrapping_key in (own, keys.newest(kind.name)[1]):
        for number in (can.wrap, p11.CKM_AES_CBC_PAD):
            mechanism = wrapping_mechanism(number, bytes(16))
            assert refused(lambda key=wrapping_key, mechanism=mechanism: session.wrap(mechanism, key, handle))  # type: ignore[misc]
    secret = (p11.CKA_VALUE, p11.CKA_PRIVATE_EXPONENT, p11.CKA_PRIME_1)
    assert session.attributes(handle, secret) == [None] * len(secret)


def test_domain_keys_cannot_be_read_or_wrapped(session: Session, can: Capabilities, keys: TokenKeys) -> None:
    own = session.create(Template({**secret_key(p11.CKK_AES, p11.CKA_WRAP, p11.CKA_UNWRAP), p11.CKA_VALUE: bytes(32)}))
    assert can.wrap is not None
    mechanism = wrapping_mechanism(can.wrap, b"")
    for purpose in PURPOSES:
        handle = keys.newest(purpose)[1]
        assert session.attributes(handle, [p11.CKA_VALUE]) == [None]
        for wrapping_key in (own, *(keys.newest(name)[1] for name in CLASSES)):
            assert refused(lambda key=wrapping_key, handle=handle: session.wrap(mechanism, key, handle))  # type: ignore[misc]


def test_what_a_domain_key_wraps_it_does_not_decrypt(
    session: Session, can: Capabilities, keys: TokenKeys, stored: dict[str, bytes]
) -> None:
    for name in CLASSES:
        handle = keys.newest(name)[1]
        for number in (p11.CKM_AES_CBC_PAD, p11.CKM_AES_ECB_ENCRYPT_DATA, p11.CKM_AES_KEY_WRAP_PAD):
            mechanism = wrapping_mechanism(number, bytes(16))
            with pytest.raises(Pkcs11Error):
                session.decrypt(mechanism, handle, stored[name])
            with pytest.raises(Pkcs11Error):
                session.encrypt(mechanism, handle, bytes(16))
            with pytest.raises(Pkcs11Error):
                session.sign(mechanism, handle, bytes(16))
        with pytest.raises(Pkcs11Error):
            session.derive_by_encryption(handle, bytes(16), Template({**secret_key(p11.CKK_GENERIC_SECRET)}))


def test_domain_keys_keep_to_their_mechanisms(session: Session, can: Capabilities, keys: TokenKeys) -> None:
    own = session.generate_key(
        AES, Template({**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True), p11.CKA_VALUE_LEN: 32})
    )
    assert can.wrap is not None
    for name in CLASSES:
        handle = keys.newest(name)[1]
        assert session.wrap(wrapping_mechanism(can.wrap, b""), handle, own)
        for mechanism in (Mechanism(CKM_AES_KEY_WRAP), Mechanism(p11.CKM_AES_CBC_PAD, bytes(16))):
            assert refused(lambda mechanism=mechanism, handle=handle: session.wrap(mechanism, handle, own))  # type: ignore[misc]
    integrity = keys.newest(INTEGRITY)[1]
    assert session.sign(Mechanism(p11.CKM_SHA256_HMAC), integrity, b"data")
    assert refused(lambda: session.sign(Mechanism(p11.CKM_SHA512_HMAC), integrity, b"data"))
    for name in (SEEDS, SERVICE_KEYS):
        handle = keys.newest(name)[1]
        assert session.encrypt(Mechanism(p11.CKM_AES_CBC_PAD, bytes(16)), handle, b"data")
        assert refused(lambda handle=handle: session.encrypt_gcm(handle, bytes(12), b"data", b""))  # type: ignore[misc]


CHANGES: dict[str, dict[int, Value]] = {
    "another label": {p11.CKA_LABEL: b"strongroom seeds v1"},
    "another id": {p11.CKA_ID: bytes(16)},
    "decrypts": {p11.CKA_DECRYPT: True},
    "encrypts": {p11.CKA_ENCRYPT: True},
    "unwraps": {p11.CKA_UNWRAP: True},
    "derives": {p11.CKA_DERIVE: True},
    "extractable": {p11.CKA_EXTRACTABLE: True},
    "readable": {p11.CKA_SENSITIVE: False},
    "modifiable": {p11.CKA_MODIFIABLE: True},
    "other mechanisms": {p11.CKA_ALLOWED_MECHANISMS: (p11.CKM_AES_CBC_PAD,)},
    "another template": {p11.CKA_UNWRAP_TEMPLATE: {p11.CKA_EXTRACTABLE: True}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_neither_a_domain_key_nor_a_copy_can_be_changed(
    session: Session, keys: TokenKeys, change: dict[int, Value]
) -> None:
    template = Template(change)
    for purpose in PURPOSES:
        handle = keys.newest(purpose)[1]
        assert changed(session, handle, template) != p11.CKR_OK
        assert copied(session, handle, template) != p11.CKR_OK


def function(name: str, *parameters: object) -> Callable[..., int]:
    """A function of the library that the service does not use, and somebody else can."""
    listed = ctypes.POINTER(p11.CK_FUNCTION_LIST)()
    ctypes.CDLL(str(LIBRARY)).C_GetFunctionList(ctypes.byref(listed))
    prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *parameters)  # type: ignore[arg-type]
    call: Callable[..., int] = prototype(getattr(listed.contents, name))
    return call


ATTRIBUTES = ctypes.POINTER(p11.CK_ATTRIBUTE)
HANDLE = ctypes.POINTER(ctypes.c_ulong)


def changed(session: Session, handle: int, template: Template) -> int:
    call = function("C_SetAttributeValue", ctypes.c_ulong, ctypes.c_ulong, ATTRIBUTES, ctypes.c_ulong)
    return call(session._number, handle, template.attributes, template.count)


def copied(session: Session, handle: int, template: Template) -> int:
    call = function("C_CopyObject", ctypes.c_ulong, ctypes.c_ulong, ATTRIBUTES, ctypes.c_ulong, HANDLE)
    made = ctypes.c_ulong()
    return call(session._number, handle, template.attributes, template.count, ctypes.byref(made))


def test_the_calls_that_change_and_copy_do_so_where_they_may(session: Session) -> None:
    """Else the test before would prove nothing."""
    rules = {**private_key(p11.CKK_EC, p11.CKA_SIGN)}
    public = Template(public_key(p11.CKK_EC, CKA_EC_PARAMS=P256))
    _, handle = session.generate_pair(Mechanism(p11.CKM_EC_KEY_PAIR_GEN), public, Template(rules))
    template = Template({p11.CKA_LABEL: b"another"})
    assert changed(session, handle, template) == p11.CKR_OK
    assert session.attributes(handle, [p11.CKA_LABEL]) == [b"another"]
    assert copied(session, handle, template) == p11.CKR_OK
