"""The whole network on one machine: `curiosity demo` and `curiosity up`."""
