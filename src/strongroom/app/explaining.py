"""Why a request was allowed or refused: from its audit record, and the policy that decided if it is still there."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from strongroom.app.installing import Opened, open_installation
from strongroom.audit.chain import Line
from strongroom.audit.reading import ChainReader
from strongroom.audit.segments import chain_directories, log_path, read_lines, segments
from strongroom.authorization.documents import policy_digest
from strongroom.authorization.ground import Decision, Ground
from strongroom.config import Config
from strongroom.errors import DataDirectoryError
from strongroom.model.aws_managed_policies import AWS_MANAGED_POLICIES
from strongroom.model.iam import Entity, Group, ManagedPolicy, Role, User
from strongroom.model.key import KmsKey
from strongroom.model.key_reference import parse_key_reference


class ExplainedGround(NamedTuple):
    """A ground, and the JSON text of its statement if the policy that decided is still there."""

    ground: Ground
    statement: str | None


class ExplainedDecision(NamedTuple):
    """What was decided on one action, and why."""

    action: str
    effect: str
    grounds: list[ExplainedGround]


class Explanation(NamedTuple):
    """A request as recorded. `error` is its error code, None if it succeeded, and `message` what the caller was told.

    `caller` is an ARN, or the name of a service.
    """

    time: str
    operation: str
    caller: str
    error: str | None
    message: str | None
    decisions: list[ExplainedDecision]


class _Identity(Struct, rename="camel"):
    arn: str | None = None
    invoked_by: str = "?"


class _Resource(Struct, rename="pascal"):
    arn: str = msgspec.field(name="ARN")


class _Additional(Struct):
    authorization: tuple[Decision, ...] = ()


class _Record(Struct, rename="camel"):
    """What of an audit record explains it."""

    event_time: str
    event_name: str
    user_identity: _Identity
    error_code: str | None = None
    error_message: str | None = None
    additional_event_data: _Additional | None = None
    resources: tuple[_Resource, ...] = ()


def explain(config: Config, request_id: str) -> Explanation | None:
    """Explain the request with this id (the header x-amzn-RequestId); None if the audit log has no record of it.

    Changes nothing; the server may be running. Raises DataDirectoryError if the log cannot be read.
    """
    opened = open_installation(config)
    try:
        found = _find_record(opened, request_id)
        return None if found is None else _explained(opened, msgspec.json.decode(found, type=_Record))
    except OSError as error:
        raise DataDirectoryError(f"cannot read {config.audit_directory}: {error.strerror}") from error
    finally:
        opened.close()


def _find_record(opened: Opened, request_id: str) -> bytes | None:
    """The record, proven to be one that this installation wrote where it stands."""
    member = b'"requestID":' + msgspec.json.encode(request_id)
    for directory in chain_directories(opened.config.audit_directory):
        for segment in segments(directory):
            if not any(member in line for line in read_lines(log_path(directory, segment))):
                continue
            found: list[bytes] = []

            def keep(line: Line, found: list[bytes] = found) -> None:
                if member in line.record and json.loads(line.record).get("requestID") == request_id:
                    found.append(line.record)

            reader = ChainReader(
                directory,
                installation=opened.installation,
                chain_private_key=opened.domain_keys.chain_private_key,
                on_record=keep,
            )
            reader.read(segment)
            if found:
                return found[0]
    return None


def _explained(opened: Opened, record: _Record) -> Explanation:
    policies = {policy_digest(text): text for text in _policies(opened, record)}
    decisions = () if record.additional_event_data is None else record.additional_event_data.authorization
    return Explanation(
        record.event_time,
        record.event_name,
        record.user_identity.arn or record.user_identity.invoked_by,
        record.error_code,
        record.error_message,
        [
            ExplainedDecision(
                decision.action,
                decision.effect,
                [
                    ExplainedGround(ground, _statement(policies.get(ground.policy), ground))
                    for ground in decision.grounds
                ],
            )
            for decision in decisions
        ],
    )


def _policies(opened: Opened, record: _Record) -> Iterator[str]:
    """The policies that the record's keys have now, and those of all identities: one of them may have decided."""
    storage = opened.storage
    for resource in record.resources:
        region, account = resource.arn.split(":")[3:5]
        if ":key/" in resource.arn:
            _, account, key_id = parse_key_reference(resource.arn, region=region, account=account)
            found = storage.find(KmsKey, (account, region, key_id))
            if found is not None:
                yield found[0].policy
            if found is not None and found[0].multi_region:  # the record tells only the key in its own Region
                related = (key for key, _ in storage.find_all(KmsKey) if (key.account, key.key_id) == (account, key_id))
                yield from (key.policy for key in related)
    roles = [role for role, _ in storage.find_all(Role)]
    yield from (role.trust_policy for role in roles)
    identities: list[Entity] = [
        *roles,
        *(user for user, _ in storage.find_all(User)),
        *(one for one, _ in storage.find_all(Group)),
    ]
    yield from (document for identity in identities for _, document in identity.policies)
    managed = [policy for policy, _ in storage.find_all(ManagedPolicy)]
    for policy in (*managed, *AWS_MANAGED_POLICIES.values()):
        yield from (version.document for version in policy.versions)


def _statement(policy: str | None, ground: Ground) -> str | None:
    if policy is None or not ground.statement:
        return None
    statements = json.loads(policy)["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    return json.dumps(listed[ground.statement - 1], indent=2, ensure_ascii=False)
