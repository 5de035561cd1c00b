"""What nodes share besides the state: the audit log and its index, services' nonces. With PostgreSQL alone."""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    if op.get_bind().dialect.name == "postgresql":
        _add_log()
        _add_index()


def _add_log() -> None:
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


def _add_index() -> None:
    op.create_table(
        "audit_events",
        sa.Column("chain_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("event_time", sa.BigInteger, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("event_name", sa.Text, nullable=False),
        sa.Column("event_source", sa.Text, nullable=False),
        sa.Column("read_only", sa.Boolean, nullable=False),
        sa.Column("user_name", sa.Text, nullable=True),
        sa.Column("access_key_id", sa.Text, nullable=True),
        sa.Column("resource_type", sa.Text, nullable=True),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_event_resources",
        sa.Column("account", sa.Text, primary_key=True, nullable=False),
        sa.Column("region", sa.Text, primary_key=True, nullable=False),
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("event_time", sa.BigInteger, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("chain_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, nullable=False, autoincrement=False),
    )
    op.create_index("audit_events_by_time", "audit_events", ["event_time"])
    op.create_index("audit_event_resources_by_time", "audit_event_resources", ["event_time"])
    for name, columns, among in (
        ("audit_events_by_account", [], None),
        ("audit_events_by_id", ["event_id"], None),
        ("audit_events_by_name", ["event_name"], None),
        ("audit_events_by_user", ["user_name"], None),
        ("audit_events_by_access_key", ["access_key_id"], None),
        ("audit_events_that_write", [], "NOT read_only"),
        ("audit_events_by_source", ["event_source"], "event_source != 'kms.amazonaws.com'"),
        ("audit_events_by_resource_type", ["resource_type"], "resource_type != 'AWS::KMS::Key'"),
    ):
        key = ["account", "region", *columns, "event_time"]
        op.create_index(name, "audit_events", key, postgresql_where=None if among is None else sa.text(among))
    op.create_table(
        "audit_index_positions",
        sa.Column("chain_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("segment", sa.BigInteger, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
