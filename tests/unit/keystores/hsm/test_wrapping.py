"""What the token encrypts for the service itself: it comes back whole, for what it is, or not at all."""

from collections.abc import Iterator

import pytest

from strongroom.errors import IntegrityError, KeyUnavailable
from strongroom.keystores.hsm.domain_keys import SEEDS, SERVICE_KEYS
from strongroom.keystores.hsm.failures import Pkcs11Error
from strongroom.keystores.hsm.opening import Hsm
from strongroom.keystores.hsm.root import HsmRoot
from strongroom.keystores.hsm.templates import CLASSES
from strongroom.keystores.hsm.wrapping import BY_RFC_5649, ENCRYPTED, Wrapping
from strongroom.testing.softhsm import SoftHsm
from tests.hsm import opened_hsm

BINDING = ("purpose", "1")


@pytest.fixture(scope="module")
def hsm(softhsm: SoftHsm) -> Iterator[Hsm]:
    with opened_hsm(softhsm) as hsm:
        yield hsm


@pytest.fixture(scope="module")
def root(hsm: Hsm) -> HsmRoot:
    return HsmRoot(hsm.token)


def flipped(content: bytes, bit: int) -> bytes:
    altered = bytearray(content)
    altered[bit // 8] ^= 1 << bit % 8
    return bytes(altered)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32, 2000])
def test_secrets_of_any_length_come_back(root: HsmRoot, length: int) -> None:
    secret = bytes(number % 251 for number in range(length))
    wrapped = root.wrap(secret, BINDING)
    assert root.unwrap(wrapped, BINDING) == secret
    assert secret == b"" or length < 4 or secret not in wrapped
    assert root.wrap(secret, BINDING) != wrapped


def test_every_flipped_bit_is_found(root: HsmRoot) -> None:
    wrapped = root.wrap(b"secret", BINDING)
    for bit in range(8 * len(wrapped)):
        with pytest.raises(IntegrityError, match=r"^a key that the HSM encrypts was altered: purpose 1$"):
            root.unwrap(flipped(wrapped, bit), BINDING)


def test_no_part_of_it_and_nothing_longer_is_taken(root: HsmRoot) -> None:
    wrapped = root.wrap(b"secret", BINDING)
    for content in (*(wrapped[:length] for length in range(len(wrapped))), wrapped + b"\x00", b"\x00" + wrapped):
        with pytest.raises(IntegrityError):
            root.unwrap(content, BINDING)


@pytest.mark.parametrize(
    "binding", [(), ("purpose",), ("purpose", "2"), ("purpose1",), ("purpos", "e1"), ("1", "purpose")]
)
def test_it_is_bound_to_what_it_is(root: HsmRoot, binding: tuple[str, ...]) -> None:
    with pytest.raises(IntegrityError):
        root.unwrap(root.wrap(b"secret", BINDING), binding)


def test_a_code_holds_for_one_purpose_version_and_way(hsm: Hsm) -> None:
    binding = (b"purpose",)
    session_and_keys = hsm.token.run(lambda lease: lease)
    wrapping = Wrapping(*session_and_keys, SEEDS, 1)
    encrypted = wrapping.encrypt(b"secret", binding)
    assert wrapping.check(encrypted, binding) == ENCRYPTED
    assert wrapping.decrypt(encrypted) == b"secret"
    for other in (wrapping._replace(purpose=SERVICE_KEYS), wrapping._replace(version=2)):
        with pytest.raises(KeyUnavailable):
            other.check(encrypted, binding)
    for how in (BY_RFC_5649, 2, 0):
        with pytest.raises(KeyUnavailable):
            wrapping.check(encrypted[:1] + bytes([how]) + encrypted[2:], binding)


def test_keys_that_wrap_decrypt_nothing(hsm: Hsm) -> None:
    wrapping = Wrapping(*hsm.token.run(lambda lease: lease), SEEDS, 1)
    encrypted = wrapping.encrypt(b"secret", ())
    for name in CLASSES:
        with pytest.raises(Pkcs11Error):
            wrapping._replace(purpose=name).decrypt(encrypted)
