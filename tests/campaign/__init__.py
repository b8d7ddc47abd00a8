"""Campaigns of bad days: kills, damage, hostile input, many processes. `make test-campaign` runs them in pieces."""
