"""Principals that a policy names are remembered by unique id (AWS: "AWS JSON policy elements: Principal").

A user or role that is deleted and created again is another, which the policy does not mean.
"""

import json
from collections.abc import Mapping
from typing import Any

from strongroom.authorization.policy import Policy
from strongroom.model.arn import root_arn
from strongroom.model.iam import Pairs
from strongroom.snapshot import Snapshot


def remembered_principals(snapshot: Snapshot, policy: Policy) -> tuple[Pairs, list[str]]:
    """The users, roles and sessions that a policy names, as (ARN, unique id), and those ARNs that nobody has.

    `policy` was compiled without remembered principals. Accounts that do not exist are among the latter.
    """
    found: dict[str, str] = {}
    unknown: list[str] = []
    for principals in policy.named:
        for arn in (*map(root_arn, principals.accounts), *principals.arns):
            unique_id = snapshot.unique_id(arn)
            if unique_id is None:
                unknown.append(arn)
            elif arn in principals.arns:
                found[arn] = unique_id
    return tuple(sorted(found.items())), unknown


def shown_policy(snapshot: Snapshot, text: str, remembered: Pairs) -> str:
    """A stored policy as it is told: as it came, but who is gone is named by unique id, and a user by its new name."""
    renamed = {arn: snapshot.arn_of(unique_id) or unique_id for arn, unique_id in remembered}
    if all(arn == now for arn, now in renamed.items()):
        return text
    document: dict[str, Any] = json.loads(text)
    statements = document["Statement"]
    for statement in [statements] if isinstance(statements, dict) else statements:
        for element in ("Principal", "NotPrincipal"):
            if isinstance(statement.get(element), dict) and "AWS" in statement[element]:
                statement[element]["AWS"] = _renamed(statement[element]["AWS"], renamed)
    return json.dumps(document, indent=2)


def _renamed(names: str | list[str], renamed: Mapping[str, str]) -> str | list[str]:
    return renamed.get(names, names) if isinstance(names, str) else [renamed.get(name, name) for name in names]
