"""The public half of key pairs.

Rows that are there get NULL, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("key_materials", sa.Column("public_key", sa.LargeBinary, nullable=True))
