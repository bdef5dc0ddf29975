"""The page to look around in: maps of a run, and the spectra behind them."""

from betis.viewer.server import view_run

__all__ = ["view_run"]
