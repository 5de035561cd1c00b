"""What the operator did on the command line, done again."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import structs

from strongroom.app.replay.step import Left, Outcome, Step
from strongroom.app.xks_proxy_keys import counted
from strongroom.audit.changes import RecordedEvent
from strongroom.audit.rollback import RESTORE_EVENT, RestoreDetails
from strongroom.authorization.xks_rules import parse_rules
from strongroom.errors import OperatorError
from strongroom.model.arn import root_arn
from strongroom.model.key_states import DISABLED, ENABLED
from strongroom.storage.contract import Delete, Replace, Storage, Write

_NOTHING = frozenset(
    {
        "AcceptRollback",
        "ConfirmTime",
        "CreateBackup",
        "ExportRootKey",
        "ImportRootKey",
        "VerifyHsmBackup",
    }
)
"""Events that left nothing behind but their record."""


def done_again(step: Step, storage: Storage) -> Outcome:
    """Do again what was done on the command line, or by the service to nobody's key."""
    name = step.event.event_name
    if name in _NOTHING:
        return []
    if name == "DeleteExternalKey":
        return _delete_external_key(step, storage)
    if name in _EVENTS:
        return _EVENTS[name](step)
    return Left("the log does not tell enough to do it again: no secrets, and no key material")


def _disable_again(step: Step) -> Outcome:
    """Keep disabled what an earlier restore disabled; who enabled it since comes after."""
    entries = [entry for arn in disabled_by(step.event) if (entry := step.key(arn)) is not None]
    return [
        Replace(structs.replace(entry.key, state=DISABLED), entry.number)
        for entry in entries
        if entry.key.state == ENABLED
    ]


def disabled_by(event: RecordedEvent) -> list[str]:
    """The ARNs of the keys that an earlier restore disabled, if the event is one."""
    if event.event_type != "AwsServiceEvent" or event.event_name != RESTORE_EVENT:
        return []
    return msgspec.convert(event.service_event_details, RestoreDetails).disabled


def _revoke_sessions(step: Step) -> Outcome:
    arn, since = str(step.told("principal")), step.told("sessionsNotBefore")
    writes: list[Write] = []
    for directory in step.snapshot.directories.values():
        account, number = directory.account
        if root_arn(account.account) == arn:
            writes.append(Replace(structs.replace(account, sessions_not_before=since), number))
        for user, number in directory.users.values():
            if user.arn == arn:
                writes.append(Replace(structs.replace(user, sessions_not_before=since), number))
        for role, number in directory.roles.values():
            if role.arn == arn:
                writes.append(Replace(structs.replace(role, sessions_not_before=since), number))
    return writes


def _declare_service(step: Step) -> Outcome:
    found = step.snapshot.services.get(str(step.told("name")))
    if found is None:
        return Left("its credential is lost: declare the service again")
    accounts, operations, protects = step.told("accounts"), step.told("operations"), step.told("protects")
    assert isinstance(accounts, list), "DeclareService is recorded so"
    assert isinstance(operations, list), "DeclareService is recorded so"
    declared = structs.replace(found.record, accounts=tuple(accounts), operations=tuple(operations), protects=protects)
    return [Replace(declared, found.number)]


def _remove_service(step: Step) -> Outcome:
    name = str(step.told("name"))
    found = step.snapshot.services.get(name)
    keys = [held for held in step.snapshot.service_keys.values() if held.record.service == name]
    writes: list[Write] = [Delete(held.record, held.number) for held in keys]
    return writes if found is None else [*writes, Delete(*found)]


def _update_xks_store(step: Step) -> Outcome:
    found = step.snapshot.xks_stores.get(str(step.told("prefix")))
    if found is None:
        return []
    rules, rate = step.told("rules"), step.told("rate")
    assert isinstance(rules, str), "UpdateXksStore is recorded so"
    try:
        parse_rules(rules)
    except OperatorError:
        return Left("its rules cannot be read any more")
    return [Replace(structs.replace(found.record, rules=rules, rate=rate), found.number)]


def _delete_xks_store(step: Step) -> Outcome:
    prefix = str(step.told("prefix"))
    found = step.snapshot.xks_stores.get(prefix)
    held = [one for one in step.snapshot.xks_credentials.values() if one.record.prefix == prefix]
    writes: list[Write] = [Delete(one.record, one.number) for one in held]
    return writes if found is None else [*writes, Delete(*found)]


def _remove_xks_credential(step: Step) -> Outcome:
    found = step.snapshot.xks_credentials.get(str(step.told("accessKeyId")))
    return [] if found is None else [Delete(found.record, found.number)]


def _delete_external_key(step: Step, storage: Storage) -> Outcome:
    found = step.snapshot.external_keys.get(_external_key(step))
    return [] if found is None else [Delete(*found), *counted(storage, found.record)]


def _set_enabled(step: Step) -> Outcome:
    found = step.snapshot.external_keys.get(_external_key(step))
    enabled = step.event.event_name == "EnableExternalKey"
    return [] if found is None else [Replace(structs.replace(found.record, enabled=enabled), found.number)]


def _external_key(step: Step) -> tuple[str, str]:
    return str(step.told("prefix")), str(step.told("externalKeyId"))


_EVENTS: Mapping[str, Callable[[Step], Outcome]] = {
    "DeclareService": _declare_service,
    "DeleteXksStore": _delete_xks_store,
    "DisableExternalKey": _set_enabled,
    "EnableExternalKey": _set_enabled,
    "RemoveService": _remove_service,
    "RemoveXksCredential": _remove_xks_credential,
    RESTORE_EVENT: _disable_again,
    "RevokeSessions": _revoke_sessions,
    "UpdateXksStore": _update_xks_store,
}
