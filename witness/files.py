"""Names of a witness's files."""

from hashlib import sha256


def origin_hash(origin: str) -> str:
    """Return the hex SHA-256 of an origin line, by which files and the monitoring route name a log."""
    return sha256(origin.encode()).hexdigest()
