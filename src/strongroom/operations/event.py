"""The audit record of one request, filled from what the pipeline learned by the time it ended."""

import os
import uuid
from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType

from strongroom.audit.record import (
    KMS_EVENT_SOURCE,
    CloudTrailRecord,
    Resource,
    encode,
    invoked_by_kms,
    recorded_tls,
    unknown_identity,
    utc_time,
)
from strongroom.authorization.decide import AuthorizedKey, AuthorizedRole
from strongroom.authorization.external_keys import AuthorizedExternalKey
from strongroom.authorization.ground import Decision
from strongroom.errors import AccessDenied, RequestError, code_of
from strongroom.model.custom_key_store import CustomKeyStore
from strongroom.model.exchange import Incoming
from strongroom.model.key import KmsKey
from strongroom.model.key_specs import SYMMETRIC_DEFAULT
from strongroom.model.principal import Principal
from strongroom.operations.call import Elsewhere
from strongroom.operations.operation import Operation
from strongroom.operations.targets import Target

_RECORDED_CODES: dict[type[RequestError], str] = {AccessDenied: "AccessDenied"}
"""Error class -> errorCode, where CloudTrail's is not the code that the caller is told."""

_RE_ENCRYPTED = ("sourceKeyMaterialId", "destinationKeyMaterialId")
"""What ReEncrypt's two keys are called in additionalEventData."""

_KEY = "AWS::KMS::Key"
_ROLE = "AWS::IAM::Role"

_MAX_EVENT_NAME = 64
"""Characters of an operation name that a stranger sent; the longest real one has 35."""


class Event(Struct):
    """One request while it runs, and what its record will say. `now` is when it arrived, in seconds since the epoch.

    `request` is set once the body was read, and with it `declared`, what it acts on; `found`, `keys`, `roles`,
    `aliases` (ARNs), `custom_key_stores` (those of the keys too) and `decisions` as they are found and authorized.
    `external_keys` are those of the XKS proxy. `on_behalf_by` is the service that calls for the caller.
    """

    incoming: Incoming
    now: float
    request_id: str
    event_id: str
    request: Struct | None = None
    declared: Sequence[Target] = ()
    found: tuple[KmsKey, ...] = ()
    keys: tuple[AuthorizedKey, ...] = ()
    roles: tuple[AuthorizedRole, ...] = ()
    aliases: tuple[str, ...] = ()
    custom_key_stores: tuple[CustomKeyStore, ...] = ()
    external_keys: tuple[AuthorizedExternalKey, ...] = ()
    decisions: tuple[Decision, ...] = ()
    on_behalf_by: Principal | None = None

    @property
    def authorized(self) -> tuple[AuthorizedKey, ...] | tuple[AuthorizedRole, ...] | tuple[AuthorizedExternalKey, ...]:
        """What the operation is given: none acts on keys of several kinds, or on keys and on roles."""
        return self.keys or self.roles or self.external_keys

    @property
    def used(self) -> list[tuple[str, str]]:
        """The keys that the operation is given, and of each the key material that it uses."""
        external = [(f"{one.key.prefix}/{one.key.external_key_id}", one.key.material_id) for one in self.external_keys]
        return [(key.key.arn, key.material_id) for key in self.keys] + external


def new_event(incoming: Incoming, now: float) -> Event:
    """Begin the record of a request, with fresh ids."""
    request_id, event_id = _two_uuids()
    return Event(incoming, now, request_id, event_id)


def record_of_call(
    event: Event,
    operation: Operation,
    identity: Raw,
    account: str,
    region: str,
    outcome: Struct | RequestError | None,
) -> bytes:
    """Return the encoded record of a request by an authenticated caller; `outcome` is its response or its error."""
    incoming = event.incoming
    error = outcome if isinstance(outcome, RequestError) else None
    request = event.request
    return encode(
        CloudTrailRecord(
            user_identity=identity,
            event_time=utc_time(int(event.now)),
            event_source=f"{operation.service}.amazonaws.com",
            event_name=operation.name,
            aws_region=region,
            source_ip_address=incoming.source_ip if event.on_behalf_by is None else event.on_behalf_by.arn,
            user_agent=(incoming.header(b"user-agent") or "") if event.on_behalf_by is None else event.on_behalf_by.arn,
            error_code=UNSET if error is None else _code(error, operation.service),
            error_message=UNSET if error is None or error.message is None else error.message,
            request_parameters=None if request is None else operation.logged(request, event.keys),
            response_elements=_response_elements(operation, event.keys, outcome),
            additional_event_data=_additional(event, operation, error, account),
            request_id=event.request_id,
            event_id=event.event_id,
            read_only=operation.read_only,
            resources=_resources(event, account, region) if operation.names_resources else UNSET,
            recipient_account_id=account or (event.found[0].account if event.found else UNSET),
            tls_details=recorded_tls(incoming.tls, incoming.header(b"host")) if incoming.tls else UNSET,
        )
    )


def record_elsewhere(event: Event, operation: Operation, identity: Raw, account: str, elsewhere: Elsewhere) -> bytes:
    """Return the encoded record of what a request did in another Region: KMS did it, for the same caller."""
    there = elsewhere.key
    return encode(
        CloudTrailRecord(
            user_identity=invoked_by_kms(identity),
            event_time=utc_time(int(event.now)),
            event_source=KMS_EVENT_SOURCE,
            event_name=elsewhere.event_name,
            aws_region=elsewhere.region,
            source_ip_address=KMS_EVENT_SOURCE,
            user_agent=KMS_EVENT_SOURCE,
            request_parameters=elsewhere.request_parameters,
            response_elements=elsewhere.response_elements,
            request_id=event.request_id,
            event_id=str(uuid.uuid4()),
            read_only=operation.read_only,
            resources=UNSET if there is None else (Resource(there.account, _KEY, there.arn),),
            recipient_account_id=account,
        )
    )


def record_of_stranger(event: Event, service: str | None, event_name: str, error: RequestError) -> CloudTrailRecord:
    """Return the record of a request whose caller is not known. What they claim to be is not repeated.

    The service is None if a form named none of ours.
    """
    incoming = event.incoming
    return CloudTrailRecord(
        user_identity=unknown_identity(None),
        event_time=utc_time(int(event.now)),
        event_source=KMS_EVENT_SOURCE if service is None else f"{service}.amazonaws.com",
        event_name=event_name[:_MAX_EVENT_NAME],
        source_ip_address=incoming.source_ip,
        user_agent=incoming.header(b"user-agent") or "",
        error_code=_code(error, service),
        error_message=UNSET if error.message is None else error.message,
        request_id=event.request_id,
        event_id=event.event_id,
        read_only=True,
        tls_details=recorded_tls(incoming.tls, incoming.header(b"host")) if incoming.tls else UNSET,
    )


def _code(error: RequestError, service: str | None) -> str:
    return _RECORDED_CODES.get(type(error)) or code_of(error, service)


def _response_elements(
    operation: Operation, keys: Sequence[AuthorizedKey], outcome: Struct | RequestError | None
) -> dict[str, object] | None:
    if operation.logged_response is None or isinstance(outcome, RequestError):
        return None
    return operation.logged_response(outcome, keys)


def _additional(
    event: Event, operation: Operation, error: RequestError | None, account: str
) -> dict[str, object] | UnsetType:
    """The key material used, and what was decided: that is Strongroom's own, as `strongroom explain` reads it."""
    data: dict[str, object] = {}
    keys, decisions = event.keys, event.decisions
    if operation.uses_material and error is None and keys:
        names = _RE_ENCRYPTED if len(keys) == len(_RE_ENCRYPTED) else ("keyMaterialId",)
        data = {
            name: key.material_id
            for name, key in zip(names, keys, strict=True)
            if key.key.key_spec == SYMMETRIC_DEFAULT and key.key.custom_key_store_id is None
        }
    data |= _custom_key_store(event, account)
    if operation.names_grant and keys and keys[0].grant is not None:
        data["grantId"] = keys[0].grant.grant_id
    if isinstance(error, AccessDenied) and isinstance(error.decision, Decision):
        decisions = (*decisions, error.decision)
    if decisions:
        data["authorization"] = decisions
    if event.on_behalf_by is not None:
        access_key_id = event.on_behalf_by.access_key_id
        data["service"] = {"accessKeyId": access_key_id, "sourceIPAddress": event.incoming.source_ip}
    return data or UNSET


def _custom_key_store(event: Event, account: str) -> dict[str, object]:
    """The custom key store that the request is about, or that a key of it is in: the first that may be told of."""
    if not event.custom_key_stores:
        return {}
    if not event.found:
        return _told(event.custom_key_stores[0], account)
    for place, key in enumerate(event.found):
        if key.custom_key_store_id is not None and _may_be_told(event, place, account):
            ids = [store.custom_key_store_id for store in event.custom_key_stores]
            store = event.custom_key_stores[ids.index(key.custom_key_store_id)]
            external = {} if key.xks_key_id is None else {"xksKeyId": key.xks_key_id}
            return _told(store, account) | external
    return {}


def _told(store: CustomKeyStore, account: str) -> dict[str, object]:
    """What is told of a store: its name to its own account alone."""
    told: dict[str, object] = {"customKeyStoreId": store.custom_key_store_id}
    if store.account == account:
        told["customKeyStoreName"] = store.name
    if store.cluster_id is not None:
        told["clusterId"] = store.cluster_id
    return told


def _may_be_told(event: Event, place: int, account: str) -> bool:
    """Whether a key that was found is the caller's account's, or may be used: one that may not be is told to nobody.

    A key that was refused is the last that was found, and not among the keys.
    """
    return place < len(event.keys) or event.found[place].account == account


def _resources(event: Event, account: str, region: str) -> tuple[Resource, ...]:
    """The keys of the caller's own account, whether or not the caller may use them; others that may be used; aliases.

    Those of the Region alone. A key that stands twice in a request (ReEncrypt) is told once. AWS gives aliases the type
    of a key.
    """
    told: list[Resource] = []
    for place, key in enumerate(event.found):
        if _may_be_told(event, place, account) and key.region == region and key not in event.found[:place]:
            told.append(Resource(key.account, _KEY, key.arn))
    told += [Resource(account, _KEY, arn) for arn in event.aliases]
    told += [Resource(one.role.account, _ROLE, one.role.arn) for one in event.roles[:1]]  # the same for each action
    return tuple(told)


def _two_uuids() -> tuple[str, str]:
    """Two random UUIDs, version 4 (RFC 9562), from one read of the system's generator: `uuid` makes one in as long."""
    digits = os.urandom(32).hex()
    return _uuid(digits[:32]), _uuid(digits[32:])


def _uuid(digits: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
