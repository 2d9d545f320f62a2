"""Copies of a ledger: how they are fetched, written, checked and audited."""
