"""The files of the BETIS scripts, so that their notebooks open a run of betis unchanged."""
