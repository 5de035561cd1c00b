"""What an event of the audit log is looked up by, read from its record (AWS: Event, LookupAttribute)."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from strongroom.storage.audit_events import AuditEvent


class _Identity(Struct, gc=False, rename="camel"):
    type: str = ""
    principal_id: str = ""
    access_key_id: str | None = None
    user_name: str | None = None
    invoked_by: str | None = None


class _Resource(Struct, gc=False):
    type: str
    arn: str = field(name="ARN")


class _Record(Struct, gc=False, rename="camel"):
    """The members of a record that belongs to an account and a Region."""

    event_time: Annotated[datetime, Meta(tz=True)]
    event_source: str
    event_name: str
    aws_region: str
    recipient_account_id: str
    read_only: bool
    user_identity: _Identity
    event_id: str = field(name="eventID")
    resources: tuple[_Resource, ...] = ()


_decoder = msgspec.json.Decoder(_Record)


def read_event(chain_id: str, sequence: int, record: bytes) -> AuditEvent | None:
    """Read the event that a line of the log holds; None if it is no account's: nobody can look it up."""
    try:
        record.decode()  # what is not looked at may be no text either, and could not be told
        read = _decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    identity, resources = read.user_identity, read.resources
    return AuditEvent(
        chain_id=chain_id,
        sequence=sequence,
        event_time=int(read.event_time.timestamp()),
        account=read.recipient_account_id,
        region=read.aws_region,
        event_id=read.event_id,
        event_name=read.event_name,
        event_source=read.event_source,
        read_only=read.read_only,
        user_name=_user_name(identity),
        access_key_id=identity.access_key_id,
        resource_type=resources[0].type if resources else None,
        resource_names=tuple(resource.arn for resource in resources),
        record=record,
    )


def _user_name(identity: _Identity) -> str | None:
    """Whom AWS calls the user: of a role its session; of a service, the service. None if it is no text in SQL."""
    match identity.type:
        case "Root":
            name: str | None = "root"
        case "AssumedRole":
            name = identity.principal_id.rpartition(":")[2]
        case "AWSService":
            name = identity.invoked_by
        case _:
            name = identity.user_name
    return None if name is None or "\0" in name else name
