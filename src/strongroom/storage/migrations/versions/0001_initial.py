"""The first schema.

A migration spells its tables out, so that it means the same for ever.
"""

import sqlalchemy as sa
from alembic import op

from strongroom.storage.column_types import ANY_TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, ANY_TEXT, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, autoincrement=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, autoincrement=False)


def _time(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=False)


def _blob(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=False)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def upgrade() -> None:
    """Create every table."""
    _create_record_tables()
    _create_feed_tables()
    _create_audit_tables()
    if op.get_bind().dialect.name == "postgresql":
        _keep_no_samples()


def _create_record_tables() -> None:
    op.create_table(
        "installation",
        _text("installation_id"),
        _time("created"),
        _blob("chain_public_key"),
        _blob("digest_public_key"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("installation_id"),
    )
    op.create_table(
        "domain_keys",
        _text("purpose"),
        _integer("version"),
        _time("created"),
        _blob("wrapped"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("purpose", "version"),
    )
    op.create_table(
        "accounts",
        _text("account"),
        _time("created"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "access_keys",
        _text("access_key_id"),
        _text("account"),
        _time("created"),
        _blob("sealed_secret"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("access_key_id"),
    )
    _create_key_tables()


def _create_key_tables() -> None:
    op.create_table(
        "kms_keys",
        _text("account"),
        _text("region"),
        _text("key_id"),
        _text("key_spec"),
        _text("key_usage"),
        _text("origin"),
        _text("state"),
        _text("description"),
        _text("policy"),
        _text("tags"),
        _time("created"),
        _text("current_material_id"),
        _text("key_manager"),
        _flag("multi_region"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("account", "region", "key_id"),
    )
    op.create_table(
        "key_materials",
        _text("account"),
        _text("region"),
        _text("key_id"),
        _text("material_id"),
        _integer("algorithm"),
        _text("key_store"),
        _integer("domain_key_version"),
        _blob("wrapped"),
        _time("created"),
        _number("number"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("account", "region", "key_id", "material_id"),
    )


def _create_feed_tables() -> None:
    op.create_table(
        "feed",
        _number("number"),
        _number("previous"),
        _text("entries"),
        sa.Column("record_hash", sa.LargeBinary, nullable=True),
        _blob("chain"),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "feed_head",
        _number("number"),
        _blob("chain"),
        _text("pending"),
        _number("audit_chains"),
        _blob("mac"),
    )
    op.create_table(
        "checkpoint",
        _number("number"),
        _blob("chain"),
        _number("floor_number"),
        _blob("floor_chain"),
        _text("listing"),
        _blob("mac"),
    )


def _create_audit_tables() -> None:
    op.create_table(
        "audit_outbox",
        _number("number"),
        _text("chain_id"),
        _text("event_id"),
        _blob("record"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "audit_chains",
        _text("chain_id"),
        _number("serial"),
        _time("opened"),
        _number("sequence"),
        _blob("chain_mac"),
        _flag("ended"),
        _blob("mac"),
        sa.PrimaryKeyConstraint("chain_id"),
    )


def _keep_no_samples() -> None:
    # PostgreSQL keeps samples of a column's values in its catalogs, where what is deleted would live on.
    for table, column in (("domain_keys", "wrapped"), ("access_keys", "sealed_secret"), ("key_materials", "wrapped")):
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
