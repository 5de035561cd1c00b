"""End sessions: those that were made for a user, a role or a root user before now."""

import uuid

from msgspec import structs

from strongroom.app.installing import audit_log, opened_to_change
from strongroom.app.recorded_change import commit_recorded
from strongroom.audit.record import service_event
from strongroom.config import Config
from strongroom.errors import ConfigurationError
from strongroom.model.arn import root_arn
from strongroom.model.iam import Role, User
from strongroom.model.principal import Account
from strongroom.storage.contract import Replace


def revoke_sessions(config: Config, arn: str, now: float) -> None:
    """Refuse from now on every session of the principal of this ARN that was made before `now`.

    `now` is in seconds since the epoch. Raises ConfigurationError if there is no such user, role or root user.
    """
    with opened_to_change(config) as opened:
        users, roles = opened.storage.find_all(User), opened.storage.find_all(Role)
        accounts = opened.storage.find_all(Account)
        found: list[tuple[Account | Role | User, int]] = []
        found += [(record, number) for record, number in users if record.arn == arn]
        found += [(record, number) for record, number in roles if record.arn == arn]
        found += [(record, number) for record, number in accounts if root_arn(record.account) == arn]
        if not found:
            raise ConfigurationError(f"{arn} is no user, role or root user")
        record, number = found[0]
        # Sessions are dated in whole seconds: those of this very second are meant too.
        replaced = structs.replace(record, sessions_not_before=float(int(now) + 1))
        details = {"principal": arn, "sessionsNotBefore": replaced.sessions_not_before}
        event = service_event(name="RevokeSessions", event_id=str(uuid.uuid4()), now=now, details=details)
        commit_recorded(audit_log(opened), event, [Replace(replaced, number)], opened.storage.commit)
