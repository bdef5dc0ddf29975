"""betis."""
