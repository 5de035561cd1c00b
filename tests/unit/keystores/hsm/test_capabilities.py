"""What a token can do is what it was seen to do right; what it cannot has a name that must be allowed."""

import ctypes
from collections.abc import Callable, Iterator

import pytest

from strongroom.errors import HsmError, UnsupportedOperation
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Template
from strongroom.keystores.hsm.capabilities import (
    CBC_WRAP,
    DIRECT_GCM,
    HOST_IMPORT,
    HOST_OAEP_SHA_256,
    NO_UNWRAP_TEMPLATE,
    NO_USAGE_LIMITS,
    WEAKER_WAYS,
    Capabilities,
    check_allowed,
    unwraps,
)
from strongroom.keystores.hsm.failures import SessionLostError
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module
from strongroom.keystores.hsm.opening import probe_token
from strongroom.keystores.hsm.proofs import probe
from strongroom.keystores.hsm.templates import CLASSES
from strongroom.model.key_specs import KEY_SPECS
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import Faults, hsm_key_store, logged_in, new_token, place_of
from tests.keys import generate, kms_key

MECHANISM_INVALID = 0x70
TEMPLATE_INCONSISTENT = 0xD1

PROVEN = ("wrap", "unwrap_template", "allowed_mechanisms", "unmodifiable", "sealing", "integrity", "gcm", "xaes")

Call = Callable[..., int]
Arguments = tuple[object, ...]


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def faults() -> Faults:
    return Faults(load(str(LIBRARY)))


@pytest.fixture
def probed(softhsm: SoftHsm, label: str, faults: Faults) -> Callable[[], Capabilities]:
    """Proves what the token can do with the faults that were set."""
    return lambda: probe_token(place_of(softhsm, label, Module(faults.functions)))


@pytest.fixture(scope="module")
def can(softhsm: SoftHsm, label: str) -> Capabilities:
    return probe_token(place_of(softhsm, label))


def lacks(faults: Faults, name: str, *numbers: int) -> None:
    """Have a function refuse some mechanisms."""

    def refuse(call: Call, arguments: Arguments) -> int:
        mechanism = arguments[1]._obj.mechanism  # type: ignore[attr-defined]
        return MECHANISM_INVALID if mechanism in numbers else call(*arguments)

    faults.set(name, refuse)


def lies(faults: Faults, name: str) -> None:
    """Have a function give back something else: one bit of its answer is flipped."""

    def flip(call: Call, arguments: Arguments) -> int:
        code = call(*arguments)
        if code == p11.CKR_OK:
            byte = ctypes.c_ubyte.from_address(arguments[-2])  # type: ignore[arg-type]
            byte.value ^= 1
        return code

    faults.set(name, flip)


def takes_everything(faults: Faults) -> None:
    """Have keys opened as they are wanted, whatever the domain key's template says: it is not passed on."""

    def create(call: Call, arguments: Arguments) -> int:
        given = [one for one in arguments[1] if one.type != p11.CKA_UNWRAP_TEMPLATE]  # type: ignore[attr-defined]
        return call(arguments[0], (p11.CK_ATTRIBUTE * len(given))(*given), len(given), arguments[3])

    faults.set("C_CreateObject", create)


def test_softhsm_does_all_but_oaep_with_sha_256(can: Capabilities) -> None:
    assert can.wrap == p11.CKM_AES_KEY_WRAP_PAD
    assert can.needs() == []
    assert "SoftHSM" in can.description
    assert (can.unwrap_template, can.allowed_mechanisms, can.unmodifiable, can.xaes, can.gcm) == (True,) * 5
    ways = {(spec, usage): can.way(spec, usage) for spec, row in KEY_SPECS.items() for usage in row.algorithms}
    software = {kind: way for kind, way in ways.items() if way and way.startswith("software-")}
    assert {spec for spec, _ in software} == {
        "ECC_NIST_EDWARDS25519", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024",
    }  # fmt: skip
    host = {kind for kind, way in ways.items() if way == HOST_OAEP_SHA_256}
    assert host == {(f"RSA_{bits}", "ENCRYPT_DECRYPT") for bits in (2048, 3072, 4096)}
    assert all(way == "" for kind, way in ways.items() if kind not in software and kind not in host)
    assert {way for way in ways.values() if way} <= set(WEAKER_WAYS)


def test_a_token_that_cannot_derive_encrypts_directly(
    softhsm: SoftHsm, faults: Faults, probed: Callable[[], Capabilities]
) -> None:
    faults.fail("C_DeriveKey", MECHANISM_INVALID, times=1_000_000)
    can = probed()
    assert (can.xaes, can.gcm, can.needs()) == (False, True, [])
    assert can.way("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") == DIRECT_GCM
    assert can.way("ECC_NIST_P256", "KEY_AGREEMENT") is None
    assert can.way("ECC_NIST_P256", "SIGN_VERIFY") == ""


def test_a_token_without_rfc_5649_and_without_unwrapping_by_cbc_is_of_no_use(
    faults: Faults, probed: Callable[[], Capabilities]
) -> None:
    for name in ("C_WrapKey", "C_UnwrapKey"):
        lacks(faults, name, p11.CKM_AES_KEY_WRAP_KWP, p11.CKM_AES_KEY_WRAP_PAD)
    can = probed()
    assert can.wrap is None
    assert not can.unwrap_template
    told = r"^the token cannot be used: it lacks wrapping keys \(RFC 5649 or AES-CBC\)$"
    with pytest.raises(HsmError, match=told):
        can.needs()
    with pytest.raises(HsmError, match=told):
        check_allowed(can, WEAKER_WAYS)


def test_the_number_of_the_standard_is_preferred(faults: Faults, probed: Callable[[], Capabilities]) -> None:
    """SoftHSM knows RFC 5649 by its older number alone. Here it knows both."""

    def both(at: int) -> Callable[[Call, Arguments], int]:
        def renumber(call: Call, arguments: Arguments) -> int:
            mechanism = arguments[at]._obj  # type: ignore[attr-defined]
            if mechanism.mechanism != p11.CKM_AES_KEY_WRAP_KWP:
                return call(*arguments)
            mechanism.mechanism = p11.CKM_AES_KEY_WRAP_PAD
            try:
                return call(*arguments)
            finally:
                mechanism.mechanism = p11.CKM_AES_KEY_WRAP_KWP

        return renumber

    for name in ("C_WrapKey", "C_UnwrapKey"):
        faults.set(name, both(1))
    assert probed().wrap == p11.CKM_AES_KEY_WRAP_KWP


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("C_Encrypt", {"gcm", "xaes", "sealing"}),
        ("C_Decrypt", {"gcm", "xaes", "sealing"}),
        ("C_Sign", {"integrity"}),
        ("C_WrapKey", {"wrap", "unwrap_template", "unmodifiable"}),
    ],
)
def test_what_is_done_wrong_is_not_done(
    faults: Faults, probed: Callable[[], Capabilities], can: Capabilities, name: str, missing: set[str]
) -> None:
    lies(faults, name)
    wrong = probed()
    assert {field for field in PROVEN if getattr(wrong, field) in {False, None}} == missing
    assert wrong.done <= can.done
    with pytest.raises(HsmError, match=r"^the token cannot be used: it lacks "):
        wrong.needs()


def test_a_gcm_that_takes_an_altered_tag_is_none(faults: Faults, probed: Callable[[], Capabilities]) -> None:
    def take(call: Call, arguments: Arguments) -> int:
        code = call(*arguments)
        return p11.CKR_OK if code == 0x05 else code  # SoftHSM's answer to a wrong tag

    faults.set("C_Decrypt", take)
    can = probed()
    assert (can.gcm, can.xaes) == (False, False)
    assert can.way("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") is None


def test_rules_that_are_not_kept_must_be_allowed(faults: Faults, probed: Callable[[], Capabilities]) -> None:
    takes_everything(faults)
    can = probed()
    assert (can.unwrap_template, can.allowed_mechanisms) == (False, True)
    assert can.needs() == [NO_UNWRAP_TEMPLATE]
    with pytest.raises(HsmError, match=r"^this token needs the weaker way 'no-unwrap-template', which hsm\.allow does"):
        check_allowed(can, set(WEAKER_WAYS) - {NO_UNWRAP_TEMPLATE})
    check_allowed(can, [NO_UNWRAP_TEMPLATE])


def test_a_token_that_takes_no_lists_of_mechanisms_must_be_allowed(
    faults: Faults, probed: Callable[[], Capabilities]
) -> None:
    def create(call: Call, arguments: Arguments) -> int:
        types = {one.type for one in arguments[1]}  # type: ignore[attr-defined]
        return TEMPLATE_INCONSISTENT if p11.CKA_ALLOWED_MECHANISMS in types else call(*arguments)

    faults.set("C_CreateObject", create)
    can = probed()
    assert (can.allowed_mechanisms, can.unmodifiable) == (False, True)
    assert can.needs() == [NO_USAGE_LIMITS]


def test_what_each_token_needs_follows_from_what_it_lacks(can: Capabilities) -> None:
    assert can._replace(wrap=p11.CKM_AES_CBC_PAD).needs() == [CBC_WRAP]
    assert can._replace(unmodifiable=False).needs() == [NO_USAGE_LIMITS]
    assert can._replace(
        wrap=p11.CKM_AES_CBC_PAD, unwrap_template=False, allowed_mechanisms=False, unmodifiable=False
    ).needs() == [CBC_WRAP, NO_UNWRAP_TEMPLATE, NO_USAGE_LIMITS]
    for lacking, named in (
        ({"wrap": None}, "wrapping keys (RFC 5649 or AES-CBC)"),
        ({"sealing": False}, "encrypting with AES-CBC"),
        ({"integrity": False}, "HMAC-SHA-256"),
        ({"sealing": False, "integrity": False}, "encrypting with AES-CBC, HMAC-SHA-256"),
    ):
        with pytest.raises(HsmError) as refused:
            can._replace(**lacking).needs()
        assert str(refused.value) == f"the token cannot be used: it lacks {named}"


def test_the_way_of_a_kind_follows_from_what_was_proven(can: Capabilities) -> None:
    assert can._replace(xaes=False).way("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") == DIRECT_GCM
    assert can._replace(xaes=False, gcm=False).way("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") is None
    for lost, kind, way in (
        ("HMAC_SHA_384", ("HMAC_384", "GENERATE_VERIFY_MAC"), None),
        ("RSASSA_PSS_SHA_384", ("RSA_4096", "SIGN_VERIFY"), None),
        ("RAW_RSA", ("RSA_2048", "ENCRYPT_DECRYPT"), None),
        ("RSAES_OAEP_SHA_1", ("RSA_2048", "ENCRYPT_DECRYPT"), None),
        ("ECC_NIST_P384 SIGN_VERIFY", ("ECC_NIST_P384", "SIGN_VERIFY"), None),
        ("ECC_NIST_P384 SIGN_VERIFY", ("ECC_NIST_P384", "KEY_AGREEMENT"), ""),
    ):
        assert can._replace(done=can.done - {lost}).way(*kind) == way
    assert can._replace(done=can.done | {"RSAES_OAEP_SHA_256"}).way("RSA_2048", "ENCRYPT_DECRYPT") == ""


def test_a_token_that_decrypts_and_does_not_unwrap_imports_through_the_server(
    faults: Faults, probed: Callable[[], Capabilities], can: Capabilities
) -> None:
    """What it decrypts is no proof of what it unwraps."""
    oaep = "RSAES_OAEP_SHA_1"
    assert can.import_way("SYMMETRIC_DEFAULT", oaep, two_steps=True) == ""
    lacks(faults, "C_UnwrapKey", p11.CKM_RSA_PKCS_OAEP)
    less = probed()
    assert can.done - less.done == {unwraps(oaep)}
    assert less.way("RSA_2048", "ENCRYPT_DECRYPT") == HOST_OAEP_SHA_256
    assert less.import_way("SYMMETRIC_DEFAULT", oaep, two_steps=True) == HOST_IMPORT


def test_a_token_that_unwraps_something_else_does_not_unwrap(
    faults: Faults, probed: Callable[[], Capabilities]
) -> None:
    def other(call: Call, arguments: Arguments) -> int:
        if arguments[1]._obj.mechanism != p11.CKM_RSA_PKCS_OAEP:  # type: ignore[attr-defined]
            return call(*arguments)
        attributes = [one for one in arguments[5] if one.type != p11.CKA_UNWRAP_TEMPLATE]  # type: ignore[attr-defined]
        value = ctypes.create_string_buffer(32)
        given = p11.CK_ATTRIBUTE(p11.CKA_VALUE, ctypes.addressof(value), 32)
        template = (p11.CK_ATTRIBUTE * (len(attributes) + 1))(*attributes, given)
        return faults.functions.C_CreateObject(arguments[0], template, len(template), arguments[7])

    faults.set("C_UnwrapKey", other)
    assert not {unwraps("RSAES_OAEP_SHA_1"), unwraps("RSAES_OAEP_SHA_256")} & probed().done


def test_opened_and_made_material_is_told_all_that_the_token_takes(can: Capabilities) -> None:
    for kind in CLASSES.values():
        opened, made = can.opened_attributes(kind), can.made_attributes(kind)
        assert opened[p11.CKA_EXTRACTABLE] is False
        assert opened[p11.CKA_MODIFIABLE] is False
        assert made[p11.CKA_EXTRACTABLE] is True
        for attributes in (opened, made):
            assert (attributes[p11.CKA_SENSITIVE], attributes[p11.CKA_PRIVATE]) == (True, True)
            assert attributes[p11.CKA_TOKEN] is False
            assert attributes[p11.CKA_ALLOWED_MECHANISMS] == kind.mechanisms
        loose = can._replace(allowed_mechanisms=False, unmodifiable=False)
        assert p11.CKA_ALLOWED_MECHANISMS not in loose.opened_attributes(kind)
        assert p11.CKA_MODIFIABLE not in loose.opened_attributes(kind)


def test_a_session_that_is_lost_proves_nothing(softhsm: SoftHsm, label: str, faults: Faults) -> None:
    module = Module(faults.functions)
    with logged_in(softhsm, label, module) as session:
        faults.fail("C_WrapKey", 0xB3, times=1_000_000)
        with pytest.raises(SessionLostError):
            probe(module, session)


def test_a_probe_leaves_nothing_in_the_token(softhsm: SoftHsm, label: str, faults: Faults) -> None:
    module = Module(faults.functions)
    with logged_in(softhsm, label, module) as session:
        probe(module, session)
        assert session.find(Template({})) == []


def test_a_kind_that_the_token_does_wrong_is_not_made(softhsm: SoftHsm, faults: Faults) -> None:
    lacks(faults, "C_SignInit", p11.CKM_ECDSA)
    with hsm_key_store(softhsm, Module(faults.functions)) as store:
        with pytest.raises(
            UnsupportedOperation, match=r"^ECC_NIST_P256 keys for SIGN_VERIFY are not supported by this"
        ):
            generate(store, kms_key("ECC_NIST_P256", "SIGN_VERIFY"))
        assert generate(store, kms_key("ECC_NIST_P256", "KEY_AGREEMENT")).public_key


@pytest.fixture(autouse=True)
def told_nothing(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    assert capsys.readouterr().err == ""
