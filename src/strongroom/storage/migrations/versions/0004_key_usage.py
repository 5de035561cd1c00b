"""When KMS keys were last used.

The row of the installation that is there gets NULL in the new column, which leaves its code valid.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, ANY_TEXT, nullable=False)


def upgrade() -> None:
    """Add a column and a table."""
    op.add_column("installation", sa.Column("usage_tracked_since", sa.Double, nullable=True))
    op.create_table(
        "key_usages",
        _text("account"),
        _text("region"),
        _text("key_id"),
        sa.Column("used", sa.Double, nullable=False),
        _text("operation"),
        _text("request_id"),
        _text("event_id"),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account", "region", "key_id"),
    )
