"""What a record tells of custom key stores: nothing of a key that the caller may not use, unless it is their own."""

import json
from typing import Any, cast

import pytest
from msgspec import Raw
from msgspec.structs import replace

from strongroom.authorization.decide import AuthorizedKey
from strongroom.errors import AccessDenied
from strongroom.model.custom_key_store import CONNECTED, CustomKeyStore
from strongroom.model.exchange import Incoming
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import AWS_CLOUDHSM, EXTERNAL_KEY_STORE
from strongroom.operations.event import new_event, record_of_call
from strongroom.operations.registry import find_operation
from tests.keys import kms_key

OWN, FOREIGN = "111122223333", "444455556666"
RE_ENCRYPT = find_operation("kms", "ReEncrypt")
MAY_BE_USED = cast("AuthorizedKey", None)


def store(account: str, *, external: bool) -> CustomKeyStore:
    kind = "external" if external else "cluster"
    return CustomKeyStore(
        account=account,
        region="us-east-1",
        custom_key_store_id=f"cks-{kind}-{account}",
        name=f"the {kind} of {account}",
        type=EXTERNAL_KEY_STORE if external else AWS_CLOUDHSM,
        created=0.0,
        state=CONNECTED,
        sealed_secret=b"",
        cluster_id=None if external else f"cluster-{account}",
    )


STORES = {
    f"{kind} {whose}": store(account, external=kind == "external")
    for whose, account in (("own", OWN), ("foreign", FOREIGN))
    for kind in ("external", "cluster")
}


def key(name: str) -> KmsKey:
    """A key by the name of its store, or one in none: "own" or "foreign"."""
    made = replace(kms_key(), account=FOREIGN if name.endswith("foreign") else OWN, region="us-east-1")
    if name not in STORES:
        return made
    external = f"external key of {name}" if STORES[name].is_external else None
    return replace(made, custom_key_store_id=STORES[name].custom_key_store_id, xks_key_id=external)


def told(*names: str, usable: int) -> dict[str, Any]:
    """What the record of a refused ReEncrypt tells, of whose keys the first few may be used."""
    event = new_event(Incoming("POST", b"/", b"", [], b"", "127.0.0.1"), 0.0)
    event.found = tuple(map(key, names))
    event.keys = (MAY_BE_USED,) * usable
    event.custom_key_stores = tuple(STORES[name] for name in names if name in STORES)
    assert RE_ENCRYPT is not None
    record = record_of_call(event, RE_ENCRYPT, Raw(b"{}"), OWN, "us-east-1", AccessDenied("no"))
    data: dict[str, Any] = json.loads(record).get("additionalEventData", {})
    return data


OWN_EXTERNAL = {
    "customKeyStoreId": f"cks-external-{OWN}",
    "customKeyStoreName": f"the external of {OWN}",
    "xksKeyId": "external key of external own",
}
FOREIGN_EXTERNAL = {"customKeyStoreId": f"cks-external-{FOREIGN}", "xksKeyId": "external key of external foreign"}
OWN_CLUSTER = {
    "customKeyStoreId": f"cks-cluster-{OWN}",
    "customKeyStoreName": f"the cluster of {OWN}",
    "clusterId": f"cluster-{OWN}",
}


@pytest.mark.parametrize(
    ("names", "usable", "expected"),
    [
        (["external own"], 0, OWN_EXTERNAL),
        (["external foreign"], 0, {}),
        (["external foreign"], 1, FOREIGN_EXTERNAL),
        (["own", "external foreign"], 1, {}),
        (["foreign", "external own"], 1, OWN_EXTERNAL),
        (["cluster own", "external foreign"], 1, OWN_CLUSTER),
        (["external foreign", "cluster own"], 1, FOREIGN_EXTERNAL),
        (["external own", "external foreign"], 1, OWN_EXTERNAL),
        (["cluster own", "external own"], 2, OWN_CLUSTER),
    ],
    ids=str,
)
def test_nothing_is_told_of_a_foreign_key_that_may_not_be_used(
    names: list[str], usable: int, expected: dict[str, Any]
) -> None:
    assert told(*names, usable=usable) == expected
