"""Brings a database to the schema that this version of the software knows, or refuses."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from protocol.errors import StoreError

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade_schema(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises StoreError SCHEMA_NEWER if the database was migrated by newer software than this.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            "SCHEMA_NEWER",
            f"the database has schema {current}, this software knows up to {script.get_current_head()}",
            "Run a newer version of the software on this database.",
        )
    if current != script.get_current_head():
        command.upgrade(config, "head")
