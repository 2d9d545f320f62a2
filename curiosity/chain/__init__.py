"""The client half of the contracts: what to send, what to read, and how an endpoint of a chain is asked."""
