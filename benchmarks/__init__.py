"""Measurements that print the figures of the documents, each a program of its own."""
