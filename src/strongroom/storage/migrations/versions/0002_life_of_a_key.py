"""Aliases, deletion, and the clock.

Rows of kms_keys that are there get NULL in the new columns, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, ANY_TEXT, nullable=False)


def _time(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _written() -> tuple[sa.Column[int], sa.Column[bytes]]:
    return (
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )


def upgrade() -> None:
    """Add two columns and three tables."""
    op.add_column("kms_keys", sa.Column("deletion_date", sa.Double, nullable=True))
    op.add_column("kms_keys", sa.Column("pending_window_in_days", sa.Integer, nullable=True))
    op.create_table(
        "aliases",
        _text("account"),
        _text("region"),
        _text("name"),
        _text("target_key_id"),
        _time("created"),
        _time("last_updated"),
        *_written(),
        sa.PrimaryKeyConstraint("account", "region", "name"),
    )
    op.create_index("aliases_by_key", "aliases", ["account", "region", "target_key_id"])
    op.create_table(
        "pending_erasures",
        _text("account"),
        _text("region"),
        _text("key_id"),
        _time("deleted"),
        *_written(),
        sa.PrimaryKeyConstraint("account", "region", "key_id"),
    )
    op.create_table(
        "clock_readings",
        _text("boot_id"),
        _time("wall"),
        _time("boot"),
        _time("latest"),
        *_written(),
        sa.PrimaryKeyConstraint("boot_id"),
    )
