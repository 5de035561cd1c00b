"""What `doctor` says of policies that an older version took."""

from pathlib import Path

from strongroom import app
from strongroom.app.installing import open_installation
from strongroom.authorization.documents import default_key_policy
from strongroom.config import read_config
from strongroom.model.key import KmsKey
from strongroom.storage.contract import Insert
from strongroom.testing.server import initialize


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
