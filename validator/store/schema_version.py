"""Brings a database to the schema that this version of the software knows, or refuses."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from curiosity.protocol.errors import StoreError

_MIGRATIONS = Path(__file__).parent / "migrations"
NEWEST = "0009"
_ABANDONED = {"0001", "0002"}  # kept tree nodes as rows, and one file for each large item


def upgrade_schema(connection: Connection) -> None:
    """Run the migrations that are missing, inside the caller's transaction.

    Raises:
        StoreError: SCHEMA_NEWER if newer software than this migrated the database, SCHEMA_ABANDONED if it has a schema
            that was given up before the first release.
    """
    current = _current(connection)
    if current == NEWEST:
        return
    if current in _ABANDONED:
        raise StoreError(
            "SCHEMA_ABANDONED",
            f"the database has schema {current}, which nothing migrates from; expected {NEWEST}",
            "Begin a new ledger in an empty database, or run the version of the software that made this one.",
        )
    # Only now: a database that is up to date opens without loading Alembic.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            "SCHEMA_NEWER",
            f"the database has schema {current}, this software knows up to {NEWEST}",
            "Run a newer version of the software on this database.",
        )
    command.upgrade(config, NEWEST)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)
