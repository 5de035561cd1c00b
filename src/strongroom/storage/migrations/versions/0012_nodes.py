"""What nodes share besides the state: the audit log, and the nonces of services' requests. With PostgreSQL alone."""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.create_table(
        "audit_groups",
        sa.Column("chain_id", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("first_sequence", sa.BigInteger, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("segment", sa.Integer, nullable=False),
        sa.Column("lines", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_digests",
        sa.Column("chain_id", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("segment", sa.Integer, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "nonces",
        sa.Column("owner", sa.Text, primary_key=True, nullable=False),
        sa.Column("nonce", sa.Text, primary_key=True, nullable=False),
        sa.Column("used", sa.Double, nullable=False, index=True),
    )
