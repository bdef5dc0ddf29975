"""Quality bits: one registry for bins, continuum fits and line fits.

The table in the documentation and the ``FLAGn`` cards of FITS products are made from it.
"""

from enum import IntFlag


class Flag(IntFlag):
    """What is known to be wrong, or worth knowing, about one row; 0 means nothing."""

    LOW_SNR = 1
    NO_DATA = 2
    FEW_PIXELS = 4
    NOT_CONVERGED = 8
    AT_BOUND = 16
    BAD_CHI2 = 32
    FIT_FAILED = 64
    UNRESOLVED = 128
    NOT_DETECTED = 256
    IN_SKY_WINDOW = 512
    NO_COMPONENT = 1024
    COARSE_KINEMATICS = 2048


MEANING: dict[Flag, str] = {
    Flag.LOW_SNR: "the bin does not reach the target S/N",
    Flag.NO_DATA: "no usable pixel: the line is outside the spectrum or wholly masked",
    Flag.FEW_PIXELS: "fewer usable pixels than the fit needs to be trusted",
    Flag.NOT_CONVERGED: "the fit stopped at its limit of iterations",
    Flag.AT_BOUND: "a parameter ended on its bound; errors are those of a fit without it",
    Flag.BAD_CHI2: "reduced chi-square above 3: the model does not describe the data",
    Flag.FIT_FAILED: "the fit gave no finite result; the values are NaN",
    Flag.UNRESOLVED: "the line is not broader than the line-spread function; sigma is 0",
    Flag.NOT_DETECTED: "flux below lines.detection (3) times its error; use upper_limit",
    Flag.IN_SKY_WINDOW: "the line falls in a window of strong sky emission or absorption",
    Flag.NO_COMPONENT: "the data do not ask for this component; its values are NaN",
    Flag.COARSE_KINEMATICS: "velocity and dispersion of the stars are those of a neighbourhood",
}


def describe(value: int) -> list[str]:
    """Return the names of the bits that are set in ``value``."""
    return [flag.name or "" for flag in Flag if value & flag]


def header_cards() -> dict[str, str]:
    """Return ``{"FLAG1": "LOW_SNR: meaning", ...}``, a card a bit, keyed by the bit's value."""
    return {f"FLAG{flag.value}": f"{flag.name}: {MEANING[flag]}" for flag in Flag}
