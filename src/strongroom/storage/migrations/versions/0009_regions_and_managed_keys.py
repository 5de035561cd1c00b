"""Multi-Region keys, and services with AWS managed keys.

Rows that are there get NULL, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("kms_keys", sa.Column("primary_region", ANY_TEXT, nullable=True))
    op.add_column("services", sa.Column("protects", ANY_TEXT, nullable=True))
