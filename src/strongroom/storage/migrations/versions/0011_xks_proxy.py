"""What the XKS proxy serves: key stores, credentials, external keys, and objects that are or were such keys."""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


_WRAPPED = (
    ("xks_credentials", "sealed_secret"),
    ("external_keys", "wrapped"),
    ("external_keys", "recovery"),
    ("custom_key_stores", "sealed_secret"),  # these three should have been there when their columns were added
    ("domain_keys", "recovery"),
    ("key_materials", "recovery"),
)


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "xks_stores",
        sa.Column("prefix", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("rate", sa.Integer, nullable=False),
        sa.Column("rules", ANY_TEXT, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "xks_credentials",
        sa.Column("access_key_id", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("prefix", ANY_TEXT, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "external_keys",
        sa.Column("prefix", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("external_key_id", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("material_id", ANY_TEXT, nullable=False),
        sa.Column("algorithm", sa.Integer, nullable=False),
        sa.Column("key_store", ANY_TEXT, nullable=False),
        sa.Column("domain_key_version", sa.Integer, nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("uses", sa.BigInteger, nullable=True),
        sa.Column("recovery", sa.LargeBinary, nullable=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "attached_objects",
        sa.Column("label", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # It keeps samples of a column's values in its catalogs, where what is deleted would live on.
        for table, column in _WRAPPED:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
