"""Tricks that make encoding and training faster or smaller; `tricks.py` has one table of them all."""
