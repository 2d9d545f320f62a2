"""Pairs that are made from code and package data: digits, emoji, speech, a simulated world."""
