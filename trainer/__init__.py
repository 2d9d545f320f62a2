"""The program that trains checkpoints and measures them."""
