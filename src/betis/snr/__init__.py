"""Signal and noise of emission lines, or of the continuum, at each spaxel and in each bin.

The default is a matched filter: the line's flux by weighted linear least squares, with the
profile at the local velocity, its neighbours and a linear pseudo-continuum fitted together. On
pure noise it is unbiased, and its noise is exact where the variance is. The velocity comes from a
brighter line in other pixels, so that it does not chase the noise of the line itself.

What is measured is asked for by a text, `betis.snr.request.parse_request`: a line, a sum of
lines, the worst of several, or the continuum.
"""

from betis.snr.maps import line_snr
from betis.snr.request import line_names
from betis.snr.stacked import measured_snr, window_cube
from betis.snr.velocity import velocity_field

__all__ = ["line_names", "line_snr", "measured_snr", "velocity_field", "window_cube"]
