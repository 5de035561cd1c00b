"""What `doctor` says of policies that an older version took, and of Regions."""

from pathlib import Path

from msgspec.structs import replace

from strongroom import app
from strongroom.app.installing import open_installation
from strongroom.authorization.documents import default_key_policy
from strongroom.config import Config, Health, read_config
from strongroom.model.key import KmsKey
from strongroom.storage.contract import Insert
from strongroom.testing.server import initialize
from tests.keys import kms_key


def test_a_policy_that_cannot_be_read_is_named(data: Path) -> None:
    initialize(data)
    config = read_config(data / "strongroom.yaml")
    opened = open_installation(config)
    opened.storage.load()
    texts = {"good": default_key_policy("111122223333"), "odd": '{"Statement": {"Effect": "Maybe"}}', "worse": "{"}
    keys = [
        KmsKey(
            "111122223333", "us-east-1", key_id, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled", "",
            policy, (), 0.0, "ab" * 32,
        )
        for key_id, policy in texts.items()
    ]  # fmt: skip
    opened.storage.commit([Insert(key) for key in keys], None)
    opened.close()

    wrong = [finding.text for finding in app.diagnose(config) if finding.verdict == app.WRONG]
    assert wrong == [
        f"the policy of {keys[1].arn} cannot be read (Syntax errors in policy.): put another one",
        f"the policy of {keys[2].arn} cannot be read (it is not JSON): put another one",
    ]


def test_health_that_other_machines_can_ask_is_noted(data: Path) -> None:
    initialize(data)
    config = read_config(data / "strongroom.yaml")

    def noted(config: Config) -> list[str]:
        return [one.text.partition(":")[0] for one in app.diagnose(config) if one.verdict == app.NOTE]

    there, here = Health(host="0.0.0.0", port=8401), Health(port=8401)
    assert not [text for text in noted(replace(config, health=here)) if "health" in text]
    proxy = replace(config.xks_proxy, health=there)
    expected = ["health.host is not a loopback address", "xks_proxy.health.host is not a loopback address"]
    assert [text for text in noted(replace(config, health=there, xks_proxy=proxy)) if "health" in text] == expected


def test_regions_that_hold_keys_and_are_not_served_are_named(data: Path) -> None:
    initialize(data)
    config = replace(read_config(data / "strongroom.yaml"), regions=("us-east-1", "mars-1"))
    opened = open_installation(config)
    opened.storage.load()
    opened.storage.commit([Insert(replace(kms_key(), region=region)) for region in ("us-east-1", "eu-west-1")], None)
    opened.close()

    notes = [finding.text for finding in app.diagnose(config) if finding.verdict == app.NOTE]
    assert "AWS has no Region mars-1: SDKs may refuse it" in notes
    assert "Region eu-west-1 is not served: nobody can use or manage its 1 KMS keys" in notes
    assert not [note for note in notes if "us-east-1" in note]
