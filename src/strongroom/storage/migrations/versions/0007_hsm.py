"""What protects keys in an HSM: recovery keys, counted uses, and when a backup of the token was verified.

Rows that are there get NULL, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("installation", sa.Column("recovery_public_key", sa.LargeBinary, nullable=True))
    op.add_column("installation", sa.Column("backup_verified", sa.Double, nullable=True))
    op.add_column("domain_keys", sa.Column("recovery", sa.LargeBinary, nullable=True))
    op.add_column("key_materials", sa.Column("uses", sa.BigInteger, nullable=True))
    op.add_column("key_materials", sa.Column("recovery", sa.LargeBinary, nullable=True))
