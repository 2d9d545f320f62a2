"""The machine that a program of ours runs on: its files. Knows nothing of the network."""
