"""Custom key stores, and keys in them.

Rows that are there get NULL, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, and the columns."""
    op.create_table(
        "custom_key_stores",
        sa.Column("account", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("region", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("custom_key_store_id", ANY_TEXT, primary_key=True, nullable=False),
        sa.Column("name", ANY_TEXT, nullable=False),
        sa.Column("type", ANY_TEXT, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("state", ANY_TEXT, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        *(
            sa.Column(name, ANY_TEXT, nullable=True)
            for name in (
                "error_code",
                "cluster_id",
                "trust_anchor_certificate",
                "connectivity",
                "uri_endpoint",
                "uri_path",
                "access_key_id",
                "vpc_endpoint_service_name",
                "vpc_endpoint_service_owner",
            )
        ),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    for name in ("custom_key_store_id", "xks_key_id"):
        op.add_column("kms_keys", sa.Column(name, ANY_TEXT, nullable=True))
    for name in ("custom_key_store_id", "backing_keys"):
        op.add_column("pending_erasures", sa.Column(name, ANY_TEXT, nullable=True))
