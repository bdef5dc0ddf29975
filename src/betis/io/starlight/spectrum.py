"""The spectra that STARLIGHT fits: wavelength, flux, error and flag."""

from __future__ import annotations

from jaxtyping import Float, Int

from betis.arrays import F64, I32

__all__ = ["BAD", "spectrum_text"]

BAD = 3
"""Flag of a bad pixel; STARLIGHT leaves out what has more than 1."""

_HEADER = "wavelength flux error flag\n"


def spectrum_text(
    wave: Float[F64, " wave"],
    flux: Float[F64, " wave"],
    error: Float[F64, " wave"],
    flag: Int[I32, " wave"],
    *,
    has_header: bool,
) -> str:
    """Return the file; with a first line of names where STARLIGHT is told to pass over it."""
    rows = zip(wave.tolist(), flux.tolist(), error.tolist(), flag.tolist(), strict=True)
    body = "".join(f"{w:11.4f} {f:16.8E} {e:16.8E} {bad:3d}\n" for w, f, e, bad in rows)
    return (_HEADER if has_header else "") + body
