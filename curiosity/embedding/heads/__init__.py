"""Heads: what is trained on embeddings, or on their fusion, for a task of one's own. Each task is one file here."""
