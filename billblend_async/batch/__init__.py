"""Files of payouts: parsing, preflight, progress and results."""
