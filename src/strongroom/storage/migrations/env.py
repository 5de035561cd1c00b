"""Run by Alembic inside the transaction that `database.py` has begun; there is no other way to run it."""

from alembic import context

from strongroom.storage.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
