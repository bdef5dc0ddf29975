"""The report of a run: one self-contained HTML file with maps, spectra and quality.

``content`` says what goes in, ``write`` the order of the sections; ``binmap``, ``promise``,
``linemaps``, ``bpt``, ``spectra`` and ``quality`` draw, on the axes of ``field`` and ``canvas``;
``summary`` and ``binfacts`` hold the words and numbers, ``page`` the HTML.
"""

from betis.report.content import LineModel, ReportContent
from betis.report.write import write_report

__all__ = ["LineModel", "ReportContent", "write_report"]
