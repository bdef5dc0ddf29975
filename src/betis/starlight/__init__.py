"""The STARLIGHT code: its input from a run, its fits in parallel, its outputs as a continuum."""
