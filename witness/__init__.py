"""A witness: remembers the last tree head of each log, and cosigns only what continues it (c2sp.org/tlog-witness)."""
