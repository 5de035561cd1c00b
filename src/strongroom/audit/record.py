"""The CloudTrail record of one event, and its JSON (AWS: "CloudTrail record contents").

What goes in is loggable already: whoever fills a record leaves out plaintexts, ciphertexts, data keys and
grant tokens. A member that AWS leaves out when it has nothing to say is UNSET; one that it shows as null, None.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from strongroom.model.erasure import PendingErasure
from strongroom.model.exchange import TlsDetails
from strongroom.model.key import KmsKey
from strongroom.model.principal import Principal

KMS_EVENT_SOURCE = "kms.amazonaws.com"
AWS_INTERNAL = "AWS Internal"
"""What stands for the address, the agent and the invoker of an event that no request caused."""

MAX_TEXT = 1024
"""Bytes of userAgent and of errorMessage; the rest is cut."""
MAX_ELEMENTS = 100 * 1024
"""Bytes of requestParameters and of responseElements; more is replaced by the omission marker."""
MAX_HOST = 255
"""Characters of the Host header (RFC 1035 has no longer names); the rest is cut."""
MAX_ADDITIONAL_DATA = 28 * 1024
"""Bytes of additionalEventData; more is replaced by the omission marker."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

T = TypeVar("T")
Loggable = Mapping[str, object] | Struct | Raw
"""A JSON object made of what may be logged."""


class Resource(Struct, frozen=True, gc=False):
    """A resource that the event touched: `ARN` of a KMS key or alias, and the account that owns it."""

    account_id: str = field(name="accountId")
    type: str
    arn: str = field(name="ARN")


class RecordedTls(Struct, frozen=True, gc=False, rename="camel"):
    """What the connection negotiated, and the Host header as the client sent it."""

    tls_version: str
    cipher_suite: str
    client_provided_host_header: str | UnsetType = UNSET


class CloudTrailRecord(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """One event, its members in CloudTrail's order. `event_time` is made by `utc_time`.

    `user_identity` is prepared JSON (the function of that name): it is the same for every request of a principal.
    Fields over AWS's size limits are cut by `encode`.
    """

    event_version: str = "1.11"
    user_identity: Raw
    event_time: str
    event_source: str = KMS_EVENT_SOURCE
    event_name: str
    aws_region: str | UnsetType = UNSET
    source_ip_address: str = field(name="sourceIPAddress")
    user_agent: str
    error_code: str | UnsetType = UNSET
    error_message: str | UnsetType = UNSET
    request_parameters: Loggable | None = None
    response_elements: Loggable | None = None
    additional_event_data: Loggable | UnsetType = UNSET
    request_id: str | UnsetType = field(name="requestID", default=UNSET)
    event_id: str = field(name="eventID")
    read_only: bool
    resources: tuple[Resource, ...] | UnsetType = UNSET
    event_type: str = "AwsApiCall"
    management_event: bool = True
    recipient_account_id: str | UnsetType = UNSET
    shared_event_id: str | UnsetType = field(name="sharedEventID", default=UNSET)
    service_event_details: Loggable | UnsetType = UNSET
    event_category: str = "Management"
    tls_details: RecordedTls | UnsetType = UNSET


_encoder = msgspec.json.Encoder()
_OMITTED = Raw(b'{"omitted":true}')
_AWS_INTERNAL_IDENTITY = Raw(_encoder.encode({"invokedBy": AWS_INTERNAL}))


def encode(record: CloudTrailRecord) -> bytes:
    """Return the record as one line of JSON without its newline. Fields over AWS's limits are cut."""
    # A character takes at most four bytes, so that shorter texts need no closer look.
    if len(record.user_agent) * 4 > MAX_TEXT or (
        record.error_message is not UNSET and len(record.error_message) * 4 > MAX_TEXT
    ):
        record = _with_short_texts(record)
    line = _encoder.encode(record)
    if len(line) > MAX_ADDITIONAL_DATA:
        line = _encoder.encode(_with_small_objects(record))
    return line


def service_event(*, name: str, event_id: str, now: float, details: Loggable) -> CloudTrailRecord:
    """Return the record of something that the service did by itself at `now` (seconds since the epoch)."""
    return CloudTrailRecord(
        user_identity=_AWS_INTERNAL_IDENTITY,
        event_time=utc_time(int(now)),
        event_name=name,
        source_ip_address=AWS_INTERNAL,
        user_agent=AWS_INTERNAL,
        event_id=event_id,
        read_only=False,
        event_type="AwsServiceEvent",
        service_event_details=details,
    )


def key_event(
    *, name: str, event_id: str, now: float, key: KmsKey | PendingErasure, details: Loggable
) -> CloudTrailRecord:
    """Return the record of something that the service did by itself to a KMS key, which may be gone."""
    return msgspec.structs.replace(
        service_event(name=name, event_id=event_id, now=now, details=details),
        user_identity=Raw(_encoder.encode({"accountId": key.account, "invokedBy": AWS_INTERNAL})),
        aws_region=key.region,
        resources=(Resource(key.account, "AWS::KMS::Key", key.arn),),
        recipient_account_id=key.account,
    )


def synchronization_event(*, event_id: str, request_id: str, now: float, primary: KmsKey) -> CloudTrailRecord:
    """Return the record of a copy of shared properties from a primary key to replica keys."""
    record = key_event(name="SynchronizeMultiRegionKey", event_id=event_id, now=now, key=primary, details={})
    return msgspec.structs.replace(
        record,
        response_elements={"keyId": primary.arn},
        request_id=request_id,
        event_type="AwsApiCall",
        service_event_details=UNSET,
    )


def user_identity(principal: Principal) -> Raw:
    """Return the userIdentity of a caller (AWS: "CloudTrail userIdentity element"). Prepare it once per principal."""
    if principal.kind == "AWSService":
        return Raw(_encoder.encode({"type": "AWSService", "invokedBy": principal.arn}))
    if principal.kind == "WebIdentityUser":
        subject = principal.principal_id.removeprefix(f"{principal.arn}:").partition(":")[2]
        return Raw(
            _encoder.encode(
                {
                    "type": "WebIdentityUser",
                    "principalId": principal.principal_id,
                    "userName": subject,
                    "identityProvider": principal.arn,
                }
            )
        )
    identity: dict[str, object] = {
        "type": principal.kind,
        "principalId": principal.principal_id,
        "arn": principal.arn,
        "accountId": principal.account,
    }
    if principal.access_key_id:
        identity["accessKeyId"] = principal.access_key_id
    if principal.kind == "IAMUser":
        identity["userName"] = principal.arn.rpartition("/")[2]
    if principal.issued is not None:
        identity["sessionContext"] = _session_context(principal, principal.issued)
    if principal.service is not None:
        identity["invokedBy"] = f"{principal.service}.amazonaws.com"
    return Raw(_encoder.encode(identity))


def user_identity_of_proxy_client(prefix: str, access_key_id: str) -> Raw:
    """Return the userIdentity of whoever signs for a key store of the XKS proxy: AWS KMS, as far as that is known."""
    return Raw(_encoder.encode({"type": "XksClient", "principalId": prefix, "accessKeyId": access_key_id}))


def invoked_by_kms(identity: Raw) -> Raw:
    """Return a userIdentity for what KMS does elsewhere in a caller's request; a service that calls for them stays."""
    return Raw(
        _encoder.encode({"invokedBy": KMS_EVENT_SOURCE, **msgspec.json.decode(identity, type=dict[str, object])})
    )


def _session_context(principal: Principal, issued: float) -> dict[str, object]:
    context: dict[str, object] = {}
    if principal.issuer_arn is not None:
        context["sessionIssuer"] = {
            "type": "Role",
            "principalId": principal.issuer_id,
            "arn": principal.issuer_arn,
            "accountId": principal.account,
            "userName": principal.issuer_arn.rpartition("/")[2],
        }
    if principal.federated_provider is not None:
        claims = {name.rpartition(":")[2]: values[0] for name, values in principal.claims if len(values) == 1}
        context["webIdFederationData"] = {"federatedProvider": principal.federated_provider, "attributes": claims}
    context["attributes"] = {"creationDate": utc_time(int(issued)), "mfaAuthenticated": "false"}
    if principal.source_identity is not None:
        context["sourceIdentity"] = principal.source_identity
    return context


def unknown_identity(access_key_id: str | None) -> Raw:
    """Return the userIdentity of a caller who is not authenticated, with the access key they claim."""
    identity = {"type": "Unknown"}
    if access_key_id is not None:
        identity["accessKeyId"] = access_key_id
    return Raw(_encoder.encode(identity))


def recorded_tls(tls: TlsDetails | None, host: str | None) -> RecordedTls | UnsetType:
    """Return the tlsDetails of a connection; UNSET over plain HTTP."""
    if tls is None:
        return UNSET
    return RecordedTls(tls.tls_version, tls.cipher_suite, UNSET if host is None else host[:MAX_HOST])


@lru_cache(maxsize=16)
def utc_time(seconds: int) -> str:
    """Return whole seconds since the epoch as `2026-01-01T00:00:00Z`. Kept: it changes once a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def shown_time(seconds: float) -> str:
    """Return a time as CloudTrail copies one: `Jan 5, 2026, 10:38:27 PM`, in UTC. Of no calendar: the number."""
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return str(seconds)
    hour = moment.tm_hour % 12 or 12
    half = "AM" if moment.tm_hour < 12 else "PM"  # noqa: PLR2004 — noon
    clock = f"{hour}:{moment.tm_min:02}:{moment.tm_sec:02} {half}"
    return f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday}, {moment.tm_year}, {clock}"


def _with_short_texts(record: CloudTrailRecord) -> CloudTrailRecord:
    message = record.error_message
    return msgspec.structs.replace(
        record,
        user_agent=_cut(record.user_agent),
        error_message=UNSET if message is UNSET else _cut(message),
    )


def _cut(text: str) -> str:
    return text.encode()[:MAX_TEXT].decode(errors="ignore")


def _with_small_objects(record: CloudTrailRecord) -> CloudTrailRecord:
    return msgspec.structs.replace(
        record,
        request_parameters=_limited(record.request_parameters, MAX_ELEMENTS),
        response_elements=_limited(record.response_elements, MAX_ELEMENTS),
        additional_event_data=_limited(record.additional_event_data, MAX_ADDITIONAL_DATA),
    )


def _limited(value: T, limit: int) -> T | Raw:
    # UNSET cannot be encoded alone.
    if value is UNSET:
        return value
    return value if len(_encoder.encode(value)) <= limit else _OMITTED
