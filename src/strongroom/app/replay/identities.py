"""Changes of IAM, done again by the same functions that did them.

They were allowed then, and are not decided on again. Who is made keeps its unique id, which the log tells: policies and
grants mean it. Access keys are lost: the log holds no secrets.
"""

from collections.abc import Callable
from typing import get_args

from msgspec import Struct, structs

from strongroom.app.replay.step import Left, Outcome, Step
from strongroom.errors import NoSuchEntity, RequestError
from strongroom.messages.declaration import declared, member_type
from strongroom.model.iam import Group, ManagedPolicy, Role, User
from strongroom.model.principal import Principal
from strongroom.operations.call import Call, Change
from strongroom.operations.logged import lower_camel
from strongroom.operations.registry import OPERATIONS
from strongroom.storage.contract import Insert, Write

CallFor = Callable[[Step, Principal], Call]
"""Makes the call in which an operation runs."""

_LOST = {"CreateAccessKey": "the access key is lost: make another"}

_UNIQUE_IDS: dict[type, tuple[str, str]] = {
    User: ("user", "user_id"),
    Group: ("group", "group_id"),
    Role: ("role", "role_id"),
    ManagedPolicy: ("policy", "policy_id"),
}
"""What is made -> where its record tells the unique id, and the member that holds it."""


def done_again(step: Step, call_for: CallFor) -> Outcome:
    """Do again what a request of IAM did."""
    event = step.event
    operation = OPERATIONS.get(("iam", event.event_name))
    parameters = event.request_parameters or {}
    if operation is None or operation.change is None or "omitted" in parameters or event.event_name in _LOST:
        return Left(_LOST.get(event.event_name, "the log does not tell enough to do it again"))
    if event.recipient_account_id not in step.snapshot.directories:
        return []  # the account is lost
    request = _message(operation.messages.request, parameters)
    try:
        change = operation.change(call_for(step, _caller(step)), request, ())
    except NoSuchEntity as error:
        return [] if _takes_away(event.event_name) else Left(error.message or error.code)
    except RequestError as error:
        return Left(error.message or error.code)
    assert isinstance(change, Change), "operations of IAM wait for nothing"
    writes = [_as_it_was(step, write) for write in change.writes]
    told = [write for write in writes if write is not None]
    return told if len(told) == len(writes) else Left("the log does not tell the unique id that it had")


def _takes_away(name: str) -> bool:
    return name.startswith(("Delete", "Detach", "Remove"))


def _caller(step: Step) -> Principal:
    """Who asked: a request that names nobody is about them."""
    identity = {name: str(value) for name, value in step.event.user_identity.items()}
    return Principal(
        kind=identity.get("type", ""),
        arn=identity.get("arn", ""),
        account=step.event.recipient_account_id,
        principal_id=identity.get("principalId", ""),
        access_key_id=identity.get("accessKeyId", ""),
    )


def _message(kind: type[Struct], told: dict[str, object]) -> Struct:
    """A request as it was before it was told (`operations/logged.py`)."""
    members = {
        field.name: _value(field.type, told[spelling])
        for field in structs.fields(kind)
        if (spelling := lower_camel(field.name)) in told
    }
    return kind(**members)


def _value(annotation: object, told: object) -> object:
    kind, _ = declared(member_type(annotation))
    if isinstance(told, list):
        item, _ = declared(get_args(kind)[0])
        return tuple(_message(item, one) if isinstance(one, dict) and isinstance(item, type) else one for one in told)
    return told


def _as_it_was(step: Step, write: Write) -> Write | None:
    """What is made, under the unique id that it had; None if the log does not tell that, as where it was too long."""
    if not isinstance(write, Insert) or type(write.record) not in _UNIQUE_IDS:
        return write
    told, member = _UNIQUE_IDS[type(write.record)]
    made = step.told(told)
    unique_id = made.get(lower_camel(member)) if isinstance(made, dict) else None
    return None if unique_id is None else Insert(structs.replace(write.record, **{member: unique_id}))
