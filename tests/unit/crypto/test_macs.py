import pytest

from strongroom.crypto.macs import MacKey
from strongroom.errors import KMSInvalidMac
from strongroom.model.key_specs import MAC_BYTES
from tests.unit.crypto.vectors import Case, Hex, each


class Mac(Case, frozen=True):
    algorithm: str
    key: Hex
    message: Hex
    mac: Hex
    truncated: bool


@each(Mac, "hmac/rfc4231.json")
def test_makes_and_verifies_the_published_macs(case: Mac) -> None:
    key = MacKey(case.key)
    mac = key.generate(case.algorithm, case.message)
    assert len(mac) == MAC_BYTES[case.algorithm]
    key.verify(case.algorithm, case.message, mac)
    if case.truncated:
        assert mac.startswith(case.mac)
        with pytest.raises(KMSInvalidMac):
            key.verify(case.algorithm, case.message, case.mac)
    else:
        assert mac == case.mac


@pytest.mark.parametrize("algorithm", MAC_BYTES)
def test_verifies_with_nothing_changed_only(algorithm: str) -> None:
    key = MacKey(bytes(range(32)))
    mac = key.generate(algorithm, b"message")
    for changed in (b"", mac[:-1], mac + b"\x00", mac[1:], mac[:-1] + bytes([mac[-1] ^ 1]), bytes(len(mac))):
        with pytest.raises(KMSInvalidMac):
            key.verify(algorithm, b"message", changed)
    with pytest.raises(KMSInvalidMac):
        key.verify(algorithm, b"Message", mac)
    with pytest.raises(KMSInvalidMac):
        MacKey(bytes(32)).verify(algorithm, b"message", mac)
    for other in MAC_BYTES:
        if other != algorithm:
            with pytest.raises(KMSInvalidMac):
                key.verify(other, b"message", mac)
