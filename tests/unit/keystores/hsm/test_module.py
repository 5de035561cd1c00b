"""The calls of a PKCS #11 library: what their return codes mean, what they are given, and who may make them."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from strongroom.errors import ConfigurationError, HsmError
from strongroom.keystores.hsm import pkcs11 as p11
from strongroom.keystores.hsm.arguments import Mechanism, Template, Value
from strongroom.keystores.hsm.failures import (
    DataRefusedError,
    HandleLostError,
    NotPossibleError,
    PinRefusedError,
    Pkcs11Error,
    SessionLostError,
    TokenLostError,
    UnclearError,
)
from strongroom.keystores.hsm.functions import load
from strongroom.keystores.hsm.module import Module, open_module
from strongroom.keystores.hsm.opening import probe_token
from strongroom.keystores.hsm.session import Session
from strongroom.keystores.hsm.templates import secret_key
from strongroom.testing.softhsm import LIBRARY, SoftHsm
from tests.hsm import Faults, logged_in, new_token, place_of

AES = Mechanism(p11.CKM_AES_KEY_GEN)


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults(load(str(LIBRARY)))


@pytest.fixture(scope="module")
def label(softhsm: SoftHsm) -> str:
    return new_token(softhsm)


@pytest.fixture
def session(softhsm: SoftHsm, label: str, faults: Faults) -> Iterator[Session]:
    with logged_in(softhsm, label, Module(faults.functions)) as session:
        yield session


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0xB0, SessionLostError),
        (0xB3, SessionLostError),
        (0x30, TokenLostError),
        (0x32, TokenLostError),
        (0xE0, TokenLostError),
        (0x101, TokenLostError),
        (0x190, TokenLostError),
        (0x60, HandleLostError),
        (0x82, HandleLostError),
        (0x40, DataRefusedError),
        (0xC0, DataRefusedError),
        (0x110, DataRefusedError),
        (0x12, NotPossibleError),
        (0x54, NotPossibleError),
        (0x6A, NotPossibleError),
        (0x70, NotPossibleError),
        (0xD0, NotPossibleError),
        (0xA0, PinRefusedError),
        (0xA4, PinRefusedError),
        (0x02, UnclearError),
        (0x05, UnclearError),
        (0x06, UnclearError),
        (0x80000001, UnclearError),
        (0x7777, UnclearError),
    ],
)
def test_each_return_code_is_of_one_kind(faults: Faults, session: Session, code: int, kind: type[Pkcs11Error]) -> None:
    faults.fail("C_GenerateRandom", code)
    with pytest.raises(Pkcs11Error) as failed:
        session.random(1)
    assert type(failed.value) is kind
    assert failed.value.code == code
    assert str(failed.value) == f"C_GenerateRandom gave back 0x{code:X}"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_template_ends_with_modifiable(place: int) -> None:
    others: list[tuple[int, Value]] = [(p11.CKA_LABEL, b"label"), (p11.CKA_TOKEN, False)]
    attributes: dict[int, Value] = dict([*others[:place], (p11.CKA_MODIFIABLE, False), *others[place:]])
    template = Template(attributes)
    assert [attribute.type for attribute in template.attributes] == [
        p11.CKA_LABEL, p11.CKA_TOKEN, p11.CKA_MODIFIABLE,
    ]  # fmt: skip


def test_a_template_in_a_template_is_ordered_too() -> None:
    template = Template({p11.CKA_UNWRAP_TEMPLATE: {p11.CKA_MODIFIABLE: False, p11.CKA_EXTRACTABLE: False}})
    (nested,) = template.attributes
    assert nested.ulValueLen == 2 * ctypes.sizeof(p11.CK_ATTRIBUTE)
    inner = (p11.CK_ATTRIBUTE * 2).from_address(nested.pValue)
    assert [attribute.type for attribute in inner] == [p11.CKA_EXTRACTABLE, p11.CKA_MODIFIABLE]


def test_values_of_each_type_arrive_as_they_were_given(session: Session) -> None:
    given = {**secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, extractable=True), p11.CKA_SENSITIVE: False}
    value, mechanisms = bytes(range(32)), (p11.CKM_AES_GCM, p11.CKM_AES_CBC_PAD)
    handle = session.create(
        Template({**given, p11.CKA_VALUE: value, p11.CKA_ALLOWED_MECHANISMS: mechanisms, p11.CKA_LABEL: b""})
    )
    asked = [
        p11.CKA_VALUE, p11.CKA_ENCRYPT, p11.CKA_DECRYPT, p11.CKA_CLASS, p11.CKA_KEY_TYPE, p11.CKA_LABEL,
        p11.CKA_ALLOWED_MECHANISMS,
    ]  # fmt: skip
    told = session.attributes(handle, asked)
    assert told[:3] == [value, b"\x01", b"\x00"]
    assert [int.from_bytes(number or b"", sys.byteorder) for number in told[3:5]] == [p11.CKO_SECRET_KEY, p11.CKK_AES]
    assert told[5] == b""
    listed = told[6] or b""
    assert {int.from_bytes(listed[at : at + 8], sys.byteorder) for at in range(0, len(listed), 8)} == set(mechanisms)


def test_an_attribute_that_is_not_given_out_is_none_and_the_others_are_told(session: Session) -> None:
    handle = session.generate_key(AES, Template({**secret_key(p11.CKK_AES), p11.CKA_VALUE_LEN: 32}))
    kinds = [p11.CKA_EXTRACTABLE, p11.CKA_VALUE, p11.CKA_MODULUS, p11.CKA_TOKEN]
    assert session.attributes(handle, kinds) == [b"\x00", None, None, b"\x00"]


def test_objects_are_found_by_all_of_their_attributes(session: Session) -> None:
    template = {**secret_key(p11.CKK_AES), p11.CKA_VALUE_LEN: 32}
    first, second = (session.generate_key(AES, Template({**template, p11.CKA_ID: name})) for name in (b"a", b"b"))
    assert session.find(Template({p11.CKA_ID: b"a"})) == [first]
    assert session.find(Template({p11.CKA_ID: b"a", p11.CKA_TOKEN: True})) == []
    session.destroy(first)
    assert session.find(Template({p11.CKA_ID: b"a"})) == []
    assert session.find(Template({p11.CKA_ID: b"b"})) == [second]


def test_plaintext_does_not_stay_in_the_buffer(session: Session) -> None:
    usages = secret_key(p11.CKK_AES, p11.CKA_ENCRYPT, p11.CKA_DECRYPT)
    key = session.generate_key(AES, Template({**usages, p11.CKA_VALUE_LEN: 32}))
    sealed = session.encrypt_gcm(key, bytes(12), b"nobody else's", b"")
    assert session.decrypt_gcm(key, bytes(12), sealed, b"") == b"nobody else's"
    assert b"nobody else's" not in session._out.raw


@pytest.mark.parametrize("path", ["/nonexistent/library.so", "libc.so.6"])
def test_what_is_no_such_library_is_named(path: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^cannot load the PKCS #11 library {path}: "):
        load(path)


def test_a_library_is_opened_once_for_all_its_tokens() -> None:
    assert open_module(str(LIBRARY)) is open_module(str(LIBRARY))


def test_two_tokens_of_one_label_are_refused(softhsm: SoftHsm) -> None:
    label = new_token(softhsm)
    softhsm.add_token(label)
    with pytest.raises(HsmError, match=f"^the token '{label}' cannot be opened: C_GetSlotList gave back 0x10$"):
        probe_token(place_of(softhsm, label, Module(load(str(LIBRARY)))))


FORKED = """
import os, sys
from strongroom.keystores.hsm.module import open_module

module = open_module(sys.argv[1])
module.enter()
session = module.open_session(module.find_slot(sys.argv[2]))
child = os.fork()
if child == 0:
    for call in (lambda: session.random(1), module.initialize, module.finalize, session.close):
        try:
            call()
        except RuntimeError as error:
            print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(session.random(16)))
"""


def test_a_forked_child_may_not_call_the_library_and_its_parent_goes_on(softhsm: SoftHsm) -> None:
    command = [sys.executable, "-c", FORKED, str(LIBRARY), new_token(softhsm)]
    environment = os.environ | softhsm.environment
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 4
    assert all(
        "this process was forked from " in line and "which has the PKCS #11 library open" in line for line in refused
    )
    assert last == "16"


def test_an_epoch_is_a_number_of_its_own(softhsm: SoftHsm) -> None:
    module = Module(load(str(LIBRARY)))
    assert module.epoch == 0
    module.enter()
    module.enter()
    first = module.epoch
    module.leave()
    assert module.epoch == first > 0
    module.leave()
    assert module.epoch == 0
    module.enter()
    assert module.epoch > first
    module.leave()
