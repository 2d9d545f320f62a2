"""The commands of ``curiosity``; each parses, calls one function of the library and prints."""
