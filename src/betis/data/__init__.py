"""Data files that ship with betis: the stellar base and the line sets."""
