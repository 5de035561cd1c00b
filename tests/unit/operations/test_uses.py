"""The last use is the newest of what is stored and what this process noted."""

from msgspec import structs

from strongroom.model.key import KmsKey
from strongroom.model.key_usage import KeyUsage
from strongroom.model.numbered import Numbered
from strongroom.model.principal import AccessKeyUsage
from strongroom.operations.registry import OPERATIONS
from strongroom.operations.uses import Uses
from strongroom.snapshot import KeyEntry, Snapshot
from strongroom.storage.contract import Position

KEY = KmsKey(
    "111122223333", "us-east-1", "1234abcd-12ab-34cd-56ef-1234567890ab", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT",
    "AWS_KMS", "Enabled", "", "{}", (), 1.0, "ab" * 32,
)  # fmt: skip
ENTRY = KeyEntry(KEY, 1, {})


def usage(used: float) -> KeyUsage:
    return KeyUsage(KEY.account, KEY.region, KEY.key_id, used, "Encrypt", "request", "event")


def noted(uses: Uses, used: float) -> None:
    uses.note([KEY], now=used, operation="Encrypt", request_id="request", event_id="event")


def test_the_last_use_is_the_newest_of_the_stored_and_the_noted() -> None:
    uses = Uses()
    stored = structs.replace(ENTRY, usage=Numbered(usage(5.0), 2))
    assert uses.last(ENTRY) is None
    assert uses.last(stored) == usage(5.0)
    noted(uses, 4.0)
    assert uses.last(ENTRY) == usage(4.0)
    assert uses.last(stored) == usage(5.0)
    noted(uses, 6.0)
    assert uses.last(stored) == usage(6.0)


def test_a_use_that_came_meanwhile_is_not_forgotten() -> None:
    uses = Uses()
    noted(uses, 4.0)
    taken = uses.noted()
    noted(uses, 4.0)
    uses.forget(taken)
    assert uses.noted() == [usage(4.0)]
    uses.forget(uses.noted())
    assert uses.noted() == []
    uses.forget(taken)


def use_of_access_key(used: float) -> AccessKeyUsage:
    return AccessKeyUsage("AKIA1", used, "us-east-1", "kms")


def noted_access_key(uses: Uses, used: float) -> None:
    uses.note_access_key("AKIA1", now=used, region="us-east-1", service="kms")


def test_the_last_use_of_an_access_key_is_the_newest_of_the_stored_and_the_noted() -> None:
    uses = Uses()
    nothing = Snapshot(Position(1, b""))
    stored = structs.replace(nothing, access_key_usages={"AKIA1": Numbered(use_of_access_key(5.0), 2)})
    assert uses.last_of_access_key("AKIA1", nothing) is None
    assert uses.last_of_access_key("AKIA1", stored) == use_of_access_key(5.0)
    noted_access_key(uses, 4.0)
    assert uses.last_of_access_key("AKIA1", nothing) == use_of_access_key(4.0)
    assert uses.last_of_access_key("AKIA1", stored) == use_of_access_key(5.0)
    assert uses.last_of_access_key("AKIA2", stored) is None
    noted_access_key(uses, 6.0)
    assert uses.last_of_access_key("AKIA1", stored) == use_of_access_key(6.0)


def test_a_use_of_an_access_key_that_came_meanwhile_is_not_forgotten() -> None:
    uses = Uses()
    noted_access_key(uses, 4.0)
    taken = uses.noted()
    noted_access_key(uses, 5.0)
    uses.forget(taken)
    assert uses.noted() == [use_of_access_key(5.0)]
    uses.forget(uses.noted())
    assert uses.noted() == []


def test_the_operations_that_count_as_a_use_are_those_of_aws() -> None:
    """AWS: GetKeyLastUsage, KeyLastUsage's Operation."""
    counted = {name for (_, name), operation in OPERATIONS.items() if operation.uses_material}

    assert counted == {
        "Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "Encrypt", "GenerateDataKey",
        "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac",
        "ReEncrypt", "Sign", "Verify", "VerifyMac",
    }  # fmt: skip
