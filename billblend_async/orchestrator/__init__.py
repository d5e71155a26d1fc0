"""The runtime: it drives payouts, polls, takes callbacks in and serves manual review."""
