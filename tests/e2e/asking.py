"""How a case of the decision table is asked of a server: what it supposes is made, asked for, and taken away again."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import ClientError

from strongroom.model.grant import Grant, GrantConstraints
from tests.e2e.cast import OPEN, SHARED, Cast
from tests.e2e.supposing import Supposed, supposed, with_names
from tests.unit.authorization.decisions.case import (
    ACCOUNT,
    ALIAS_ARN,
    ALLOW,
    BOB,
    DENY,
    KEY_ARN,
    KEY_ID,
    MALFORMED,
    Case,
    Policy,
    may,
)

WAYS = {
    "IAMUser": (("user", "inline"), ("user", "managed"), ("group", "inline"), ("group", "managed")),
    "AssumedRole": (("role", "inline"), ("role", "managed")),
}
"""How users and roles come by a policy: by themselves or through the group, inline or by a managed policy."""

ALTERING = {"kms:CreateGrant", "kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"}
"""Actions after which other cases of the same key would come out otherwise."""


class Key(NamedTuple):
    """A key (its ARN), the ciphertexts that were made under it, by their contexts as JSON, and its grants' ids."""

    arn: str
    blobs: dict[str, bytes]
    grants: list[str]


class Question(NamedTuple):
    """A case as it is asked of a key, which several cases can have."""

    cast: Cast
    case: Case
    had: Supposed
    key: Key

    @property
    def named(self) -> str:
        """How the request names the key."""
        return self.key.arn if self.had.by_alias is None else self.had.by_alias

    @property
    def blob(self) -> bytes:
        """A ciphertext in the case's context."""
        return self.key.blobs[json.dumps(self.had.context)]


def key_text(case: Case) -> str | None:
    """Cases with the same text can be asked of one key. None: the case must have a key for itself."""
    had = supposed(case)
    assert had is not None, "cases that no client can cause are not asked"
    given = case.grants or had.key_tags or had.aliases or case.action.endswith("Alias")
    if given or case.action in ALTERING or case.expected == MALFORMED:
        return None
    return had.region + _document(case, had, case.key_policy)


def ask(cast: Cast, cases: Sequence[Case], number: int) -> list[tuple[str, str]]:
    """Ask cases of one key; `number` chooses how their callers come by policies.

    Returns what came of each: ALLOW, DENY, MALFORMED or another code, and the text of a refusal.
    """
    key = _make_key(cast, cases)
    questions = [Question(cast, case, _had(cast, case, key.arn), key) for case in cases]
    try:
        _put_key_policy(questions[0])
    except ClientError as error:
        return [_policy_refused(error)]
    return [_ask(question, number + place) for place, question in enumerate(questions)]


def _ask(question: Question, number: int) -> tuple[str, str]:
    with ExitStack() as undo:
        try:
            _give_policies(question, number, undo)
            kms = _client(question)
        except ClientError as error:
            return _policy_refused(error)
        try:
            REQUESTS[question.case.action](kms, question)
        except ClientError as error:
            refused = error.response["Error"]
            return DENY if refused["Code"] == "AccessDeniedException" else refused["Code"], refused["Message"]
    return ALLOW, ""


def _policy_refused(error: ClientError) -> tuple[str, str]:
    """What came of putting a policy. Raises the error if it is not about the policy."""
    refused = error.response["Error"]
    if refused["Code"] not in ("MalformedPolicyDocument", "MalformedPolicyDocumentException", "ValidationException"):
        raise error
    return MALFORMED if refused["Code"].startswith(MALFORMED.capitalize()) else refused["Code"], refused["Message"]


def _make_key(cast: Cast, cases: Sequence[Case]) -> Key:
    """A key with what the cases need, while its owner may still give it."""
    case, had = cases[0], supposed(cases[0])
    assert had is not None, "cases that no client can cause are not asked"
    owner = cast.owner(had.region)
    made = owner.create_key(Policy=cast.told(SHARED, KEY_ID), Tags=_tags(had.key_tags, "TagKey", "TagValue"))
    arn = made["KeyMetadata"]["Arn"]
    aliases = _had(cast, case, arn).aliases
    if case.action in ("kms:DeleteAlias", "kms:UpdateAlias"):
        aliases.append(_alias(cast, case, arn))
    for alias in aliases:
        owner.create_alias(AliasName=alias, TargetKeyId=arn)
    blobs: dict[str, bytes] = {}
    for one in cases:
        had = _had(cast, one, arn)
        context = json.dumps(had.context)
        if context not in blobs and (one.action in ("kms:Decrypt", "kms:ReEncryptFrom") or had.same_key):
            sealed = owner.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext=had.context)
            blobs[context] = sealed["CiphertextBlob"]
    return Key(arn, blobs, [_make_grant(cast, arn, grant) for grant in case.grants])


def _had(cast: Cast, case: Case, key: str) -> Supposed:
    """What the case supposes, of this cast and key."""
    return msgspec.convert(_told(cast, key, msgspec.to_builtins(supposed(case))), Supposed)


def _told(cast: Cast, key: str, value: Any) -> Any:
    """What the table says (JSON), of this cast and key (its ARN)."""
    return json.loads(cast.told(json.dumps(value), key.rpartition("/")[2]))


def _make_grant(cast: Cast, key: str, grant: Grant) -> str:
    asked = {"GranteePrincipal": grant.grantee_principal, "Operations": grant.operations}
    if grant.retiring_principal is not None:
        asked["RetiringPrincipal"] = grant.retiring_principal
    asked |= _constraints(grant.constraints)
    made = cast.owner(account=grant.issuing_account).create_grant(KeyId=key, **_told(cast, key, asked))
    return str(made["GrantId"])


def _constraints(constraints: GrantConstraints) -> dict[str, Any]:
    """The parameter of CreateGrant, if there are any."""
    given = {
        "EncryptionContextSubset": constraints.encryption_context_subset,
        "EncryptionContextEquals": constraints.encryption_context_equals,
        "SourceArn": constraints.source_arn,
    }
    said = {name: value for name, value in given.items() if value is not None}
    return {"Constraints": said} if said else {}


def _tags(tags: dict[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: name, value: text} for name, text in tags.items()]


def _document(case: Case, had: Supposed, policy: Policy) -> str:
    """The text of a policy, of the table's accounts and key."""
    if isinstance(policy, str):
        return policy
    statements = with_names(policy, had.renamed, variables=case.version == "2012-10-17")
    return json.dumps({"Version": case.version, "Statement": statements})


def _text(question: Question, policy: Policy) -> str:
    """The text of a policy as it is put."""
    key_id = question.key.arn.rpartition("/")[2]
    return question.cast.told(_document(question.case, question.had, policy), key_id)


def _put_key_policy(question: Question) -> None:
    """Give the key its policy. For what is about an alias alone everybody may use the key."""
    case = question.case
    policy = OPEN if case.action.endswith("Alias") and case.resource != KEY_ARN else _text(question, case.key_policy)
    owner = question.cast.owner(question.had.region)
    owner.put_key_policy(KeyId=question.key.arn, Policy=policy, BypassPolicyLockoutSafetyCheck=True)


def _give_policies(question: Question, number: int, undo: ExitStack) -> None:
    """Give the caller its policies, boundary and tags, until `undo` takes them away."""
    case, had = question.case, question.had
    policies = list(case.policies)
    if case.action.endswith("Alias") and case.resource == KEY_ARN:
        policies.append(may(Resource="arn:aws:kms:*:*:alias/*"))  # what it needs besides
    if not (policies or case.boundary or had.tags):
        return
    ways = WAYS[case.caller.kind]
    iam = question.cast.iam[case.caller.account]
    name = case.caller.arn.split("/")[1]
    for nth, policy in enumerate(policies):
        holder, how = ways[(number + nth) % len(ways)]
        named = {f"{holder.capitalize()}Name": name}
        text = _text(question, policy)
        if how == "inline":
            policy_name = f"policy-{nth}"
            getattr(iam, f"put_{holder}_policy")(**named, PolicyName=policy_name, PolicyDocument=text)
            undo.callback(getattr(iam, f"delete_{holder}_policy"), **named, PolicyName=policy_name)
        else:
            arn = _managed(iam, f"{name}-{nth}", text, undo)
            getattr(iam, f"attach_{holder}_policy")(**named, PolicyArn=arn)
            undo.callback(getattr(iam, f"detach_{holder}_policy"), **named, PolicyArn=arn)
    kind = ways[0][0]
    named = {f"{kind.capitalize()}Name": name}
    if case.boundary is not None:
        arn = _managed(iam, f"{name}-boundary", _text(question, case.boundary), undo)
        getattr(iam, f"put_{kind}_permissions_boundary")(**named, PermissionsBoundary=arn)
        undo.callback(getattr(iam, f"delete_{kind}_permissions_boundary"), **named)
    if had.tags:
        getattr(iam, f"tag_{kind}")(**named, Tags=_tags(had.tags))
        undo.callback(getattr(iam, f"untag_{kind}"), **named, TagKeys=list(had.tags))


def _managed(iam: Any, name: str, text: str, undo: ExitStack) -> str:
    arn: str = iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]["Arn"]
    undo.callback(iam.delete_policy, PolicyArn=arn)
    return arn


def _client(question: Question) -> Any:
    case, had = question.case, question.had
    session = None if case.session is None else _text(question, case.session)
    return question.cast.kms(case.caller, had.region, had.service, session)


def _alias(cast: Cast, case: Case, key: str) -> str:
    """The name of the alias that a case is about."""
    arn: str = _told(cast, key, ALIAS_ARN if case.resource == KEY_ARN else case.resource)
    return arn.rpartition(":")[2]


def _create_grant(kms: Any, q: Question) -> None:
    """Ask for a grant as the case proposes it, or for any."""
    operations, constraints = q.case.proposed or ({"Decrypt"}, GrantConstraints(q.had.context or None))
    asked = {"GranteePrincipal": BOB.arn, "Operations": sorted(operations), **_constraints(constraints)}
    kms.create_grant(KeyId=q.key.arn, **_told(q.cast, q.key.arn, asked) | q.had.parameters)


def _re_encrypt_to(kms: Any, q: Question) -> None:
    source, blob = (q.key.arn, q.blob) if q.had.same_key else (q.cast.open_key, q.cast.open_blob)
    kms.re_encrypt(
        CiphertextBlob=blob,
        SourceKeyId=source,
        DestinationKeyId=q.key.arn,
        DestinationEncryptionContext=q.had.context,
    )


def _re_encrypt_from(kms: Any, q: Question) -> None:
    kms.re_encrypt(
        CiphertextBlob=q.blob,
        SourceKeyId=q.key.arn,
        SourceEncryptionContext=q.had.context,
        DestinationKeyId=q.cast.open_key,
    )


REQUESTS: dict[str, Callable[[Any, Question], object]] = {
    "kms:CreateAlias": lambda kms, q: kms.create_alias(
        AliasName=_alias(q.cast, q.case, q.key.arn), TargetKeyId=q.key.arn
    ),
    "kms:CreateGrant": _create_grant,
    "kms:CreateKey": lambda kms, _: kms.create_key(),
    "kms:Decrypt": lambda kms, q: kms.decrypt(KeyId=q.named, CiphertextBlob=q.blob, EncryptionContext=q.had.context),
    "kms:DeleteAlias": lambda kms, q: kms.delete_alias(AliasName=_alias(q.cast, q.case, q.key.arn)),
    "kms:DescribeKey": lambda kms, q: kms.describe_key(KeyId=q.named),
    "kms:DisableKey": lambda kms, q: kms.disable_key(KeyId=q.key.arn),
    "kms:Encrypt": lambda kms, q: kms.encrypt(KeyId=q.named, Plaintext=b"x", EncryptionContext=q.had.context),
    "kms:GenerateDataKey": lambda kms, q: kms.generate_data_key(
        KeyId=q.named, KeySpec="AES_256", EncryptionContext=q.had.context
    ),
    "kms:GenerateDataKeyWithoutPlaintext": lambda kms, q: kms.generate_data_key_without_plaintext(
        KeyId=q.named, KeySpec="AES_256", EncryptionContext=q.had.context
    ),
    "kms:GenerateRandom": lambda kms, _: kms.generate_random(NumberOfBytes=1),
    "kms:GetKeyPolicy": lambda kms, q: kms.get_key_policy(KeyId=q.key.arn),
    "kms:ListKeys": lambda kms, _: kms.list_keys(),
    "kms:PutKeyPolicy": lambda kms, q: kms.put_key_policy(KeyId=q.key.arn, Policy=OPEN, **q.had.parameters),
    "kms:ReEncryptFrom": _re_encrypt_from,
    "kms:ReEncryptTo": _re_encrypt_to,
    "kms:RetireGrant": lambda kms, q: kms.retire_grant(KeyId=q.key.arn, GrantId=q.key.grants[0]),
    "kms:ScheduleKeyDeletion": lambda kms, q: kms.schedule_key_deletion(KeyId=q.key.arn, **q.had.parameters),
    "kms:UpdateAlias": lambda kms, q: kms.update_alias(
        AliasName=_alias(q.cast, q.case, q.key.arn), TargetKeyId=q.key.arn
    ),
}
"""Action -> what asks for it."""


def simulate(cast: Cast, case: Case) -> tuple[str, str]:
    """Ask IAM's simulator what would come of a case. Returns the outcome, and the same in IAM's words."""
    user = cast.users[case.caller.arn]
    asked: dict[str, Any] = {"ActionNames": [case.action], "ResourceArns": [case.resource]}
    if case.resource == KEY_ARN:
        asked["ResourcePolicy"] = json.dumps({"Version": case.version, "Statement": case.key_policy})
    asked["PolicyInputList"] = [json.dumps({"Version": case.version, "Statement": one}) for one in case.policies]
    asked["ContextEntries"] = [
        {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for name, value in case.values.items()
    ]
    real = {name: value for name, value in asked.items() if value}
    real = json.loads(cast.told(json.dumps(real), KEY_ID))
    (result,) = cast.iam[ACCOUNT].simulate_principal_policy(PolicySourceArn=user.arn, **real)["EvaluationResults"]
    return ALLOW if result["EvalDecision"] == "allowed" else DENY, result["EvalDecision"]
