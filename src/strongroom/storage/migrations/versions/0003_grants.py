"""Grants."""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, ANY_TEXT, nullable=nullable)


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "grants",
        _text("account"),
        _text("region"),
        _text("key_id"),
        _text("grant_id"),
        sa.Column("created", sa.Double, nullable=False),
        _text("issuing_account"),
        _text("operations"),
        _text("name", nullable=True),
        _text("grantee_principal", nullable=True),
        _text("grantee_service", nullable=True),
        _text("retiring_principal", nullable=True),
        _text("retiring_service", nullable=True),
        _text("constraints"),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "key_id", "grant_id"),
    )
    op.create_index(
        "grants_by_retiring_principal", "grants", ["region", "retiring_principal", "account", "key_id", "grant_id"]
    )
