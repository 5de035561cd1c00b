"""Users, groups, roles, policies, identity providers and services; who is meant is remembered by unique id.

Rows that are there get NULL in the new columns, which leaves their codes valid.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NEW_TEXTS = (
    ("access_keys", "user_id"),
    ("access_keys", "service"),
    ("kms_keys", "policy_principals"),
    ("grants", "grantee_id"),
    ("grants", "retiring_id"),
)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, ANY_TEXT, nullable=nullable)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [_text(name) for name in names]


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _create_table(name: str, *columns: sa.Column[Any], key: tuple[str, ...]) -> None:
    op.create_table(
        name,
        *columns,
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*key),
    )


def upgrade() -> None:
    """Add columns and tables."""
    for table, column in _NEW_TEXTS:
        op.add_column(table, _text(column, nullable=True))
    op.add_column("access_keys", _time("deactivated", nullable=True))
    op.add_column("accounts", _time("sessions_not_before", nullable=True))
    _create_table(
        "access_key_usages", _text("access_key_id"), _time("used"), *_texts("region", "service"), key=("access_key_id",)
    )
    _create_table(
        "users",
        *_texts("account", "user_id", "name", "path"),
        _time("created"),
        *_texts("tags", "groups", "policies", "attached"),
        _text("boundary", nullable=True),
        _time("sessions_not_before", nullable=True),
        key=("account", "user_id"),
    )
    _create_table(
        "groups",
        *_texts("account", "group_id", "name", "path"),
        _time("created"),
        *_texts("policies", "attached"),
        key=("account", "group_id"),
    )
    _create_table(
        "roles",
        *_texts("account", "role_id", "name", "path"),
        _time("created"),
        *_texts("trust_policy", "trusted", "description"),
        sa.Column("max_session_duration", sa.Integer, nullable=False),
        *_texts("tags", "policies", "attached"),
        _text("boundary", nullable=True),
        _time("sessions_not_before", nullable=True),
        key=("account", "role_id"),
    )
    _create_table(
        "managed_policies",
        *_texts("account", "policy_id", "name", "path"),
        _time("created"),
        _time("updated"),
        *_texts("description", "versions", "default_version_id"),
        sa.Column("newest_version", sa.Integer, nullable=False),
        _text("tags"),
        key=("account", "policy_id"),
    )
    _create_table(
        "identity_providers",
        *_texts("account", "url"),
        _time("created"),
        *_texts("client_ids", "thumbprints", "tags"),
        key=("account", "url"),
    )
    _create_table("services", _text("name"), _time("created"), *_texts("accounts", "operations"), key=("name",))
