"""Where the decision table meets the decision: how a case becomes a request, policies, grants, and an outcome."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from strongroom.authorization import decide, documents, grants, identity
from strongroom.authorization.request import Values
from strongroom.errors import AccessDenied, MalformedPolicyDocument
from strongroom.model.grant import GrantConstraints
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal
from tests.unit.authorization.decisions.case import ACCOUNT, ALLOW, DENY, KEY_ARN, KEY_ID, MALFORMED, Case, Policy

KEY = KmsKey(
    ACCOUNT, "us-west-2", KEY_ID, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "AWS_KMS", "Enabled",
    "", "", (), 0.0, "ab" * 32,
)  # fmt: skip


class Asked(Struct, frozen=True):
    """A request whose condition keys, by their lower-case names, are `supplied`."""

    principal: Principal
    action: str
    resource: str
    encryption_context: Mapping[str, str] | None
    proposed: tuple[frozenset[str], GrantConstraints] | None
    supplied: Mapping[str, Values]

    def values(self, name: str) -> Values | None:
        return self.supplied.get(name)


class Engine(NamedTuple):
    """What decides: the modules themselves, or changed ones."""

    decide: Any
    grants: Any
    identity: Any
    documents: Any


AS_WRITTEN = Engine(decide, grants, identity, documents)


def outcome(case: Case, engine: Engine = AS_WRITTEN) -> tuple[str, str]:
    """Decide a case. Returns ALLOW, DENY or MALFORMED, and the message of what was raised."""
    try:
        key_policy = engine.documents.compile_key_policy(_document(case.key_policy, case.version))
        caller = _identity(case, engine)
    except MalformedPolicyDocument as error:
        return MALFORMED, error.message or ""
    request = Asked(case.caller, case.action, case.resource, case.context, case.proposed, _supplied(case))
    try:
        if case.action == "kms:RetireGrant":
            engine.decide.authorize_retirement(request, caller, KEY, key_policy, case.grants[0])
        elif case.resource == KEY_ARN:
            written = [(grant, number) for number, grant in enumerate(case.grants, 1)]
            key_grants = engine.grants.NO_GRANTS.with_changes(written=written, removed=[])
            engine.decide.authorize_key(request, caller, KEY, key_policy, key_grants)
        else:
            engine.decide.authorize_account(request, caller)
    except AccessDenied as error:
        return DENY, error.message or ""
    return ALLOW, ""


def agrees(case: Case, engine: Engine = AS_WRITTEN) -> bool:
    """Whether a case comes out as it should, and for the reason that it gives."""
    verdict, message = outcome(case, engine)
    because = case.because.format(action=case.action)
    told = because in message if verdict == MALFORMED else message.endswith(because)
    return verdict == case.expected and told


def _document(statements: Policy, version: str) -> str:
    if isinstance(statements, str):
        return statements
    return json.dumps({"Version": version, "Statement": statements})


def _identity(case: Case, engine: Engine) -> Any:
    def compiled(policies: Sequence[Policy]) -> tuple[Any, ...]:
        compile_policy: Callable[[str], Any] = engine.documents.compile_identity_policy
        return tuple(compile_policy(_document(one, case.version)) for one in policies)

    # AWS: GetFederationToken: a session that was made without a policy has no permissions from its user's.
    session = compiled(()) if case.caller.kind == "FederatedUser" else None
    return engine.identity.Identity(
        case.caller,
        compiled(case.policies),
        None if case.boundary is None else compiled([case.boundary])[0],
        session if case.session is None else compiled([case.session]),
    )


def _supplied(case: Case) -> dict[str, Values]:
    """The condition keys of the case, of its caller and of its encryption context."""
    caller = case.caller
    supplied: dict[str, Values] = {
        "aws:principalarn": (caller.issuer_arn if caller.kind == "AssumedRole" and caller.issuer_arn else caller.arn,),
        "aws:principalaccount": (caller.account,),
        "aws:userid": (caller.principal_id,),
        "kms:calleraccount": (caller.account,),
    }
    if caller.kind == "IAMUser":
        supplied["aws:username"] = (caller.arn.rpartition("/")[2],)
    if case.context:
        supplied["kms:encryptioncontextkeys"] = tuple(case.context)
        supplied |= {f"kms:encryptioncontext:{key.lower()}": (value,) for key, value in case.context.items()}
    for name, value in case.values.items():
        supplied[name.lower()] = (value,) if isinstance(value, str) else value
    return supplied
