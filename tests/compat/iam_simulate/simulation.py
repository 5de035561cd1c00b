"""What iam-simulate is asked about a case, and where it is known to differ from AWS's documentation.

A known difference is a rule of AWS and a way to put the case in words that iam-simulate takes as AWS takes the case. It
explains a difference only if iam-simulate then decides as Strongroom does.
"""

import json
import re

from tests.compat.iam_simulate.cases import ACCOUNT, Case, Json

_EVERYTHING: Json = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def simulation(case: Case) -> Json:
    """The case as iam-simulate takes it."""
    policies = case.identity_policies
    if case.caller.kind == "Root":
        # AWS: the root user has full access. iam-simulate knows of policies only.
        policies = [_EVERYTHING]
    asked: Json = {
        "request": {
            "principal": case.caller.arn,
            "action": case.action,
            "resource": {
                "resource": case.resource,
                "accountId": case.caller.account if case.key_policy is None else ACCOUNT,
            },
            "contextVariables": case.context,
        },
        "identityPolicies": [{"name": str(number), "policy": policy} for number, policy in enumerate(policies)],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
    }
    if case.key_policy is not None:
        asked["resourcePolicy"] = case.key_policy
    if case.boundary is not None:
        asked["permissionBoundaryPolicies"] = [{"name": "boundary", "policy": case.boundary}]
    if case.session_policy is not None:
        asked["sessionPolicy"] = case.session_policy
    return _without_context_pairs(asked)


def _without_context_pairs(asked: Json) -> Json:
    """The same with request tags for encryption context pairs, of which iam-simulate knows no key by name."""
    replaced: Json = json.loads(_CONTEXT_PAIR.sub("aws:RequestTag/context-", json.dumps(asked)))
    return replaced


_CONTEXT_PAIR = re.compile("kms:EncryptionContext:", re.IGNORECASE)
