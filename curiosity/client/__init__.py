"""What a contributor does: the HTTP client, wallets, journals, submissions, receipts."""
