"""Runs the migrations on the connection, inside the transaction, that `validator.store.schema_version` hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
