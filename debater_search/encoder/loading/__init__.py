"""From a name to a model in memory: where its files are, which layout they have, and how each layout is read."""
