"""A multi-Region key in three Regions, from its creation to the deletion of the last, through boto3.

What the clock decides is in tests/unit/operations/kms/test_multi_region.py.
"""

import json
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest

from strongroom.testing.server import Server
from tests.e2e.calls import allow, deny, policy, refusal, refused
from tests.e2e.commands import strongroom
from tests.e2e.conftest import first_account
from tests.e2e.people import both_processes, client, credentials_of, make_user
from tests.importing import import_material
from tests.records import recorded

HOME, EUROPE, ASIA = "us-east-1", "eu-west-1", "ap-south-1"
PATIENCE = 20
"""Seconds in which every job has looked, also on a busy machine."""

Clients = dict[str, Any]


@pytest.fixture(scope="module")
def clients(pair: Server) -> Clients:
    """The root user's client of KMS in each Region."""
    root = credentials_of(pair, first_account(pair))
    return {region: client(pair, "kms", root, region) for region in (HOME, EUROPE, ASIA)}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def state(clients: Clients, key_id: str, region: str) -> str:
    return str(clients[region].describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"])


def arn(clients: Clients, key_id: str, region: str) -> str:
    return str(clients[region].describe_key(KeyId=key_id)["KeyMetadata"]["Arn"])


def replicate(clients: Clients, key_id: str, *regions: str, becomes: str = "Enabled") -> None:
    for region in regions:
        made = clients[HOME].replicate_key(KeyId=key_id, ReplicaRegion=region)["ReplicaKeyMetadata"]
        assert (made["KeyState"], made["Enabled"], "CurrentKeyMaterialId" in made) == ("Creating", False, False)
    for region in regions:
        wait_until(lambda: state(clients, key_id, region) != "Creating")  # noqa: B023 — it is called at once
        assert state(clients, key_id, region) == becomes


def exchange(clients: Clients, key_id: str, *regions: str) -> None:
    """What is encrypted here decrypts there."""
    for here in regions:
        plaintext = secrets.token_bytes(16)
        blob = clients[here].encrypt(KeyId=key_id, Plaintext=plaintext, EncryptionContext={"a": "b"})["CiphertextBlob"]
        for there in regions:
            opened = clients[there].decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})
            assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, arn(clients, key_id, there))
            altered = {"CiphertextBlob": blob, "EncryptionContext": {"a": "c"}}
            assert refusal(clients[there].decrypt, **altered) == ("InvalidCiphertextException", "")


def move_primary(clients: Clients, key_id: str, before: str, after: str) -> None:
    clients[before].update_primary_region(KeyId=key_id, PrimaryRegion=after)
    wait_until(lambda: {state(clients, key_id, region) for region in (before, after)} == {"Enabled"})


def told(clients: Clients, key_id: str, region: str) -> tuple[str, str, list[str]]:
    configuration = clients[region].describe_key(KeyId=key_id)["KeyMetadata"]["MultiRegionConfiguration"]
    replicas = [replica["Region"] for replica in configuration["ReplicaKeys"]]
    return configuration["MultiRegionKeyType"], configuration["PrimaryKey"]["Region"], replicas


def test_a_key_in_three_regions(pair: Server, clients: Clients) -> None:
    key_id = clients[HOME].create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    assert told(clients, key_id, HOME) == ("PRIMARY", HOME, [])
    replicate(clients, key_id, EUROPE, ASIA)
    assert told(clients, key_id, ASIA) == ("REPLICA", HOME, [ASIA, EUROPE])
    exchange(clients, key_id, HOME, EUROPE, ASIA)
    europe = arn(clients, key_id, EUROPE)
    no_primary = ("UnsupportedOperationException", f"{europe} is not a multi-region primary key.")
    assert refusal(clients[EUROPE].replicate_key, KeyId=key_id, ReplicaRegion="us-west-2") == no_primary
    assert refusal(clients[EUROPE].rotate_key_on_demand, KeyId=key_id) == no_primary
    assert refusal(clients[EUROPE].enable_key_rotation, KeyId=key_id) == no_primary
    exists = refusal(clients[HOME].replicate_key, KeyId=key_id, ReplicaRegion=EUROPE)
    assert exists == ("AlreadyExistsException", f"Key '{europe}' already exists")
    elsewhere = refusal(clients[HOME].encrypt, KeyId=europe, Plaintext=b"x")
    assert elsewhere == ("NotFoundException", f"Invalid arn {EUROPE}")

    old = clients[ASIA].encrypt(KeyId=key_id, Plaintext=b"old")["CiphertextBlob"]
    move_primary(clients, key_id, HOME, EUROPE)
    assert told(clients, key_id, HOME) == ("REPLICA", EUROPE, [ASIA, HOME])
    assert told(clients, key_id, EUROPE) == ("PRIMARY", EUROPE, [ASIA, HOME])
    before = clients[HOME].describe_key(KeyId=key_id)["KeyMetadata"]["CurrentKeyMaterialId"]
    clients[EUROPE].rotate_key_on_demand(KeyId=key_id)
    wait_until(lambda: len(clients[ASIA].list_key_rotations(KeyId=key_id)["Rotations"]) == 1)
    for region in (HOME, EUROPE, ASIA):
        described = clients[region].describe_key(KeyId=key_id)["KeyMetadata"]
        assert described["CurrentKeyMaterialId"] != before
        assert clients[region].decrypt(CiphertextBlob=old)["KeyMaterialId"] == before
    exchange(clients, key_id, HOME, EUROPE, ASIA)

    scheduled = clients[EUROPE].schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
    assert (scheduled["KeyState"], "DeletionDate" in scheduled) == ("PendingReplicaDeletion", False)
    waiting = ("KMSInvalidStateException", f"{europe} is pending replica deletion.")
    assert refusal(clients[EUROPE].encrypt, KeyId=key_id, Plaintext=b"x") == waiting
    exchange(clients, key_id, HOME, ASIA)
    clients[EUROPE].cancel_key_deletion(KeyId=key_id)
    clients[EUROPE].enable_key(KeyId=key_id)
    for region in (HOME, ASIA):
        scheduled = clients[region].schedule_key_deletion(KeyId=key_id, PendingWindowInDays=7)
        assert (scheduled["KeyState"], "DeletionDate" in scheduled) == ("PendingDeletion", True)
    exchange(clients, key_id, EUROPE)
    events = [
        (record["eventName"], record["awsRegion"])
        for record in recorded(pair.data)
        if key_id in str(record) and record["eventName"] in ("CreateKey", "ReplicateKey", "UpdatePrimaryRegion")
        and "errorCode" not in record
    ]  # fmt: skip
    assert sorted(events) == sorted(
        [
            ("CreateKey", HOME),
            ("ReplicateKey", HOME),
            ("CreateKey", EUROPE),
            ("ReplicateKey", HOME),
            ("CreateKey", ASIA),
            ("UpdatePrimaryRegion", HOME),
            ("UpdatePrimaryRegion", EUROPE),
        ]
    )


def test_an_imported_key_in_three_regions(clients: Clients) -> None:
    first, second = secrets.token_bytes(32), secrets.token_bytes(32)
    key_id = clients[HOME].create_key(MultiRegion=True, Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
    import_material(clients[HOME], key_id, first)
    replicate(clients, key_id, EUROPE, ASIA, becomes="PendingImport")
    for region in (EUROPE, ASIA):
        with pytest.raises(clients[region].exceptions.IncorrectKeyMaterialException):
            import_material(clients[region], key_id, second)
        import_material(clients[region], key_id, first)
    exchange(clients, key_id, HOME, EUROPE, ASIA)
    new = import_material(clients[HOME], key_id, second, ImportType="NEW_KEY_MATERIAL")["KeyMaterialId"]
    assert refusal(clients[HOME].rotate_key_on_demand, KeyId=key_id)[0] == "KMSInvalidStateException"
    for region in (EUROPE, ASIA):
        listed = clients[region].list_key_rotations(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
        assert listed[-1]["KeyMaterialState"] == "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"
        import_material(clients[region], key_id, second)
    clients[HOME].rotate_key_on_demand(KeyId=key_id)
    current = [new] * 3
    wait_until(
        lambda: (
            current
            == [kms.describe_key(KeyId=key_id)["KeyMetadata"]["CurrentKeyMaterialId"] for kms in clients.values()]
        )
    )
    exchange(clients, key_id, HOME, EUROPE, ASIA)


def test_permissions_in_the_other_region(pair: Server, clients: Clients) -> None:
    """AWS: kms:ReplicateKey on the primary key, and kms:CreateKey by IAM in the Region of the replica key."""
    iam = client(pair, "iam", credentials_of(pair, first_account(pair)))
    key_id = clients[HOME].create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    only = {"StringEquals": {"aws:RequestedRegion": EUROPE, "kms:MultiRegionKeyType": "REPLICA"}}
    statements = [
        {
            "Effect": "Allow",
            "Action": "kms:ReplicateKey",
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ReplicaRegion": [EUROPE, ASIA], "kms:MultiRegionKeyType": "PRIMARY"}},
        },
        {"Effect": "Allow", "Action": "kms:CreateKey", "Resource": "*", "Condition": only},
        {
            "Effect": "Allow",
            "Action": "kms:UpdatePrimaryRegion",
            "Resource": f"arn:aws:kms:{HOME}:*:key/{key_id}",
            "Condition": {"StringEquals": {"kms:PrimaryRegion": EUROPE}},
        },
    ]
    user = make_user(iam)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=user.name, PolicyName="replicates", PolicyDocument=document)
    kms = client(pair, "kms", user.credential, HOME)
    code, text = refusal(kms.replicate_key, KeyId=key_id, ReplicaRegion=ASIA)
    assert (code, "kms:CreateKey on resource: *" in text) == ("AccessDeniedException", True)
    code, text = refusal(kms.replicate_key, KeyId=key_id, ReplicaRegion="us-west-2")
    assert (code, "kms:ReplicateKey" in text) == ("AccessDeniedException", True)
    tagged = {"KeyId": key_id, "ReplicaRegion": EUROPE, "Tags": [{"TagKey": "a", "TagValue": "b"}]}
    code, text = refusal(kms.replicate_key, **tagged)
    assert (code, "kms:TagResource" in text) == ("AccessDeniedException", True)
    assert refusal(kms.create_key, MultiRegion=True)[0] == "AccessDeniedException"
    kms.replicate_key(KeyId=key_id, ReplicaRegion=EUROPE)
    wait_until(lambda: state(clients, key_id, EUROPE) == "Enabled")
    code, text = refusal(kms.update_primary_region, KeyId=key_id, PrimaryRegion=EUROPE)
    assert (code, arn(clients, key_id, EUROPE) in text) == ("AccessDeniedException", True)


def test_explain_finds_the_policy_of_the_key_in_the_other_region(pair: Server, clients: Clients) -> None:
    metadata = clients[HOME].create_key(MultiRegion=True)["KeyMetadata"]
    key_id, account = metadata["KeyId"], metadata["AWSAccountId"]
    document = policy(allow(account), deny(account, "kms:UpdatePrimaryRegion"))
    clients[HOME].replicate_key(KeyId=key_id, ReplicaRegion=EUROPE, Policy=document)
    answer = refused(clients[HOME].update_primary_region, KeyId=key_id, PrimaryRegion=EUROPE)
    request_id = answer["ResponseMetadata"]["RequestId"]
    done = strongroom("explain", request_id, "--config", pair.data / "strongroom.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    at = told.index("  kms:UpdatePrimaryRegion: refused by statement 2 of the key policy")
    assert told[at + 1 : at + 3] == ["    {", '      "Effect": "Deny",']


def test_every_process_knows_of_it_at_once(pair: Server, clients: Clients) -> None:
    root = credentials_of(pair, first_account(pair))
    for kms in both_processes(pair, root):
        key_id = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
        kms.replicate_key(KeyId=key_id, ReplicaRegion=EUROPE)
        for _ in range(4):
            assert told(clients, key_id, EUROPE) == ("REPLICA", HOME, [EUROPE])
