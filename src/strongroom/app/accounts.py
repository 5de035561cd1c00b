"""The accounts of an installation, each with a root user, and each a namespace of its own in every Region."""

import uuid
from collections.abc import Sequence

from strongroom.app.client_files import added_profile
from strongroom.app.installing import account_number, audit_log, new_access_key, open_installation, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.model.principal import Account
from strongroom.storage.contract import Insert, OutboxEntry, Position, Write


def create_account(config: Config, *, account: str | None, now: float) -> str:
    """Make an account (12 digits; random if None) and its root credential; return its number.

    The credential is written as the profile of that name into `credentials`, the only place where it is ever shown.
    Raises ConfigurationError if there is such an account already.
    """
    account = account_number(account)
    with opened_to_change(config) as opened:
        if opened.storage.find(Account, (account,)) is not None:
            raise ConfigurationError(f"account {account} is there already")
        access_key, secret = new_access_key(opened.domain_keys, account, now)
        event = service_event(
            name="CreateAccount",
            event_id=str(uuid.uuid4()),
            now=now,
            details={"account": account, "accessKeyId": access_key.access_key_id},
        )
        writes = [Insert(Account(account, now)), Insert(access_key)]

        def commit(writes: Sequence[Write], outbox: OutboxEntry) -> Position:
            names = {"access_key_id": access_key.access_key_id, "secret": secret, "region": config.region}
            with added_profile(config.data, account, **names):
                return opened.storage.commit(writes, outbox)

        commit_recorded(audit_log(opened), event, writes, commit)
    return account


def list_accounts(config: Config) -> list[Account]:
    """All accounts, oldest first."""
    opened = open_installation(config)
    try:
        opened.storage.load()
        accounts = [account for account, _ in opened.storage.find_all(Account)]
    finally:
        opened.close()
    return sorted(accounts, key=lambda account: account.created)
