"""The life of key material: when a key is rotated, when imported material expires.

Rows that are there get NULL, which leaves their codes valid.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("kms_keys", sa.Column("rotation_period_in_days", sa.Integer, nullable=True))
    op.add_column("kms_keys", sa.Column("next_rotation", sa.Double, nullable=True))
    op.add_column("kms_keys", sa.Column("on_demand_rotation_start", sa.Double, nullable=True))
    op.add_column("kms_keys", sa.Column("pending_material_id", ANY_TEXT, nullable=True))
    op.add_column("key_materials", sa.Column("description", ANY_TEXT, nullable=True))
    op.add_column("key_materials", sa.Column("valid_to", sa.Double, nullable=True))
    op.add_column("key_materials", sa.Column("rotated", sa.Double, nullable=True))
    op.add_column("key_materials", sa.Column("rotation_type", ANY_TEXT, nullable=True))
