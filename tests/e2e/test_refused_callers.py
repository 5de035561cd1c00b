"""Under whatever policy: who is refused learns no plaintext, and of another account's key not whether it exists."""

import base64
import json
import random
import uuid
from collections import Counter
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import hidden, refused
from tests.e2e.conftest import OTHER
from tests.records import recorded
from tests.sizes import Size

pytestmark = pytest.mark.soak

SECRET = b"what nobody learns who is refused"
CONTEXT = {"dept": "hr"}


def statement(rng: random.Random, account: str, arn: str) -> dict[str, Any]:
    who = [account, OTHER, f"arn:aws:iam::{OTHER}:root", "*"]
    condition = {
        rng.choice(["StringEquals", "StringNotEquals", "StringLike", "StringEqualsIfExists"]): {
            rng.choice(["kms:EncryptionContext:dept", "kms:CallerAccount", "aws:SourceVpce"]): rng.choice(
                ["hr", "it", account, OTHER, "*"]
            )
        }
    }
    return {
        "Effect": rng.choice(["Allow", "Allow", "Deny"]),
        "Principal": {"AWS": rng.sample(who, rng.randint(1, 2))},
        rng.choice(["Action", "Action", "NotAction"]): rng.choice(["kms:Decrypt", "kms:*", "kms:Encrypt", "kms:D*"]),
        rng.choice(["Resource", "Resource", "NotResource"]): rng.choice(["*", arn, arn + "x", "arn:aws:kms:*:*:key/*"]),
        "Condition": condition if rng.random() < 0.5 else {},
    }


def test_who_is_refused_learns_nothing(pair: Server, owners: list[Any], others: list[Any], size: Size) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    told: list[str] = []
    for round_ in range(size.rounds):
        key = owners[0].create_key()["KeyMetadata"]
        arn, account = key["Arn"], key["AWSAccountId"]
        blob = owners[1].encrypt(KeyId=arn, Plaintext=SECRET, EncryptionContext=CONTEXT)["CiphertextBlob"]
        statements = [statement(rng, account, arn) for _ in range(rng.randint(1, 3))]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        owners[0].put_key_policy(KeyId=arn, Policy=policy, BypassPolicyLockoutSafetyCheck=True)
        for who, clients in (("owner", owners), ("other", others)):
            client = clients[round_ % 2]
            parameters = {"CiphertextBlob": blob, "EncryptionContext": CONTEXT, "KeyId": arn}
            try:
                answer = client.decrypt(**parameters)
                outcomes[who, "allowed"] += 1
                assert answer["Plaintext"] == SECRET
            except client.exceptions.ClientError as error:
                answer = error.response
                outcomes[who, "refused"] += 1
                assert answer["Error"]["Code"] == "AccessDeniedException", answer
                told.append(json.dumps(answer))
                if who == "other":
                    absent = arn.rpartition("/")[0] + f"/{uuid.uuid4()}"
                    same = refused(client.decrypt, **parameters | {"KeyId": absent})
                    assert answer["Error"] == same["Error"]
                    assert (same["Error"]["Code"], same["Error"]["Message"]) == hidden(OTHER, "kms:Decrypt")
    print(dict(outcomes))
    records = [json.dumps(record) for record in recorded(pair.data) if record["eventName"] == "Decrypt"]
    assert len(records) >= 2 * size.rounds
    for secret in (SECRET.decode(), base64.b64encode(SECRET).decode(), SECRET.hex()):
        assert not any(secret in text for text in (*told, *records))
    assert len(outcomes) == 4, "each is allowed at times, and refused at times"
