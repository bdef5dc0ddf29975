"""continuum."""
