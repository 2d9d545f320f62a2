"""Towers on published encoders of ``transformers``: seeded weights of a configuration, or ``from_pretrained``.

A hidden unit is NaN in the features of these towers, never a value that an item could hold: each tower says what its
encoder gets for it (a mask token, nothing at all, or the value that means nothing there).
"""
