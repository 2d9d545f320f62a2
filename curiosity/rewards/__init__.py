"""What a ledger owes and how it is claimed: earnings, claims, permits, payouts, attestations."""
