"""What every program of Curiosity shares, and what other people import: protocol, encoders, client, ledger, rewards."""
