"""The program that judges pairs, keeps the ledger and closes epochs."""
