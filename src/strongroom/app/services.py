"""The services that may use keys for users, as the operator declares them (docs/services.md)."""

import re
import uuid
from collections.abc import Sequence

from strongroom.app.client_files import added_profile
from strongroom.app.installing import Opened, audit_log, new_access_key, open_installation, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.model.aws_managed_keys import PREFIX, is_reserved
from strongroom.model.principal import AccessKey, Account, Service
from strongroom.operations.registry import OPERATIONS
from strongroom.storage.contract import Delete, Insert, Replace, Write

_NAME = re.compile("[a-z][a-z0-9-]{0,62}")
_OURS = frozenset({"iam", "kms", "sts"})
"""What the audit log calls this service itself."""
_WORDS = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?")
"""What a key protects: up to 200 characters of ASCII."""


def declare_service(
    config: Config, name: str, accounts: Sequence[str], operations: Sequence[str], protects: str | None, now: float
) -> str:
    """Declare a service, or declare it anew: for which accounts, and which operations of KMS it may call.

    `protects` gives it an AWS managed key in each account, and says what for. A new service gets a credential, written
    into `credentials` as the profile `service-NAME`, which is returned. Raises ConfigurationError.
    """
    profile = f"service-{name}"
    with opened_to_change(config) as opened:
        service = Service(name, now, tuple(sorted(set(accounts))), tuple(sorted(set(operations))), protects)
        _check(opened, service)
        there = opened.storage.find(Service, (name,))
        details: dict[str, object] = {"name": name, "accounts": service.accounts, "operations": service.operations}
        if protects is not None:
            details["protects"] = protects
        if there is not None:
            _commit(opened, "DeclareService", details, [Replace(service, there[1])], now)
            return profile
        access_key, secret = new_access_key(opened.domain_keys, "", now, service=name)
        names = {"access_key_id": access_key.access_key_id, "secret": secret, "region": config.region}
        with added_profile(config.data, profile, **names):
            details["accessKeyId"] = access_key.access_key_id
            _commit(opened, "DeclareService", details, [Insert(service), Insert(access_key)], now)
    return profile


def remove_service(config: Config, name: str, now: float) -> None:
    """Take a service and its credential away. Raises ConfigurationError."""
    with opened_to_change(config) as opened:
        there = opened.storage.find(Service, (name,))
        if there is None:
            raise ConfigurationError(f"there is no service {name}")
        keys = [(key, number) for key, number in opened.storage.find_all(AccessKey) if key.service == name]
        writes = [Delete(*there), *(Delete(key, number) for key, number in keys)]
        _commit(opened, "RemoveService", {"name": name}, writes, now)


def list_services(config: Config) -> list[Service]:
    """All services, by name."""
    opened = open_installation(config)
    try:
        opened.storage.load()
        services = [service for service, _ in opened.storage.find_all(Service)]
    finally:
        opened.close()
    return sorted(services, key=lambda service: service.name)


def _check(opened: Opened, service: Service) -> None:
    if service.name in _OURS:
        raise ConfigurationError(f"{service.name} is a service that answers here: it cannot be one that asks")
    if not _NAME.fullmatch(service.name):
        raise ConfigurationError(f"service name {service.name!r} is not lower-case letters, digits and hyphens")
    if service.protects is not None and is_reserved(service.name):
        raise ConfigurationError(f"there is an AWS managed key {PREFIX}{service.name} already")
    if service.protects is not None and not _WORDS.fullmatch(service.protects):
        raise ConfigurationError("what a key protects is told in up to 200 characters of ASCII")
    for account in service.accounts:
        if opened.storage.find(Account, (account,)) is None:
            raise ConfigurationError(f"there is no account {account}")
    for operation in service.operations:
        if ("kms", operation) not in OPERATIONS:
            raise ConfigurationError(f"KMS has no operation {operation}")


def _commit(opened: Opened, name: str, details: dict[str, object], writes: Sequence[Write], now: float) -> None:
    event = service_event(name=name, event_id=str(uuid.uuid4()), now=now, details=details)
    commit_recorded(audit_log(opened), event, writes, opened.storage.commit)
