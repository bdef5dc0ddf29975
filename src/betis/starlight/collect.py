"""From outputs of STARLIGHT to the continuum of the spectra, each checked against its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from betis.arrays import B8, F64
from betis.errors import InputError
from betis.flags import Flag
from betis.io.starlight.output import StarlightOutput, read_output
from betis.products import ContinuumFit, Spectra
from betis.starlight.axis import Rows, on_linear_axis, on_native_pixels, rest_air
from betis.starlight.setup import Setup
from betis.starlight.workspace import Workspace

__all__ = ["Collector", "foreign", "row_flag"]

MIN_PIXELS = 50
_BAD_REDUCED_CHI2 = 3.0
_NAME_LENGTH = 40
_FLUX_ROUNDING = 2e-5
"""Of fobs_norm; real outputs repeat their input to 6e-6 of it."""
_SAME = 0.9
"""Share of pixels that must agree: some overflow their columns."""
_WEIGHT_TOLERANCE = 0.05
_KINEMATIC_ROUNDING = 0.02
_AT_BOUND = 1e-3

_PER_ROW = (
    *("velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err", "chi2", "dof"),
    *("mean_log_age_light", "mean_log_age_mass"),
    *("mean_metallicity_light", "mean_metallicity_mass"),
)


def row_flag(rows: Rows, index: int, setup: Setup) -> int:
    """Return the flag of a spectrum that STARLIGHT cannot fit; 0 for one that it can."""
    inside = (rows.wave >= setup.fitted[0]) & (rows.wave <= setup.fitted[1])
    good = rows.good[index] & inside
    if not good.any():
        return int(Flag.NO_DATA)
    if good.sum() < MIN_PIXELS:
        return int(Flag.FEW_PIXELS)
    low, upp = setup.config.norm_window
    window = good & (rows.wave >= low) & (rows.wave <= upp)
    lit = window.any() and np.median(rows.flux[index][window]) > 0
    return 0 if lit else int(Flag.FIT_FAILED)


@dataclass(kw_only=True, eq=False)
class Collector:
    """Collects outputs, and remembers why rows have none.

    Attributes
    ----------
    workspace
    failed
        For rows without an output, why.
    reasons
        How many rows have no continuum, by the reason.
    """

    workspace: Workspace
    failed: dict[int, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def collect(self, first: int, spectra: Spectra) -> ContinuumFit:
        """Return the continuum of some consecutive spectra, the first of which is row ``first``.

        A row whose output is missing, failed or of another spectrum is NaN and flagged; it changes
        no other.
        """
        setup = self.workspace.setup
        rows = on_linear_axis(spectra, setup.step, setup.scale)
        fit = _empty(spectra, len(setup.base.components))
        for index in range(spectra.n_spectrum):
            fit.flags[index] = row_flag(rows, index, setup)
            if fit.flags[index] == Flag.FIT_FAILED:
                self.reasons["they have no light where they are normalised"] += 1
            elif not fit.flags[index]:
                self._collect_row(fit, index, first + index, (spectra, rows))
        return fit

    def _collect_row(
        self, fit: ContinuumFit, index: int, row: int, data: tuple[Spectra, Rows]
    ) -> None:
        """Put the output of a row into a fit, or the flag of a row that has none."""
        spectra, rows = data
        try:
            output = self._output(row, rows, index)
        except InputError as error:
            fit.flags[index] = int(Flag.FIT_FAILED)
            self.reasons[str(error)] += 1
        else:
            _put(fit, index, output, spectra, self.workspace.setup)

    def is_done(self, row: int, rows: Rows, index: int) -> bool:
        """Tell whether the output of a row is there, whole and its own."""
        try:
            self._output(row, rows, index)
        except InputError:
            return False
        return True

    def _output(self, row: int, rows: Rows, index: int) -> StarlightOutput:
        if row in self.failed:
            raise InputError(self.failed[row])
        path = self.workspace.output(row)
        if not path.exists():
            raise InputError("there is no output")
        try:
            output = read_output(path)
        except InputError as error:
            raise InputError("the output is not whole") from error
        said = self._foreign(row, output, rows, index)
        if said:
            raise InputError(said)
        return output

    def _foreign(self, row: int, output: StarlightOutput, rows: Rows, index: int) -> str:
        setup, space = self.workspace.setup, self.workspace
        if setup.kinematics == "FXK":
            held = (space.velocity[row], space.sigma[row])
            found = (output.value("v0_min"), output.value("vd_min"))
            if not np.allclose(found, held, rtol=0, atol=_KINEMATIC_ROUNDING):
                return "the output is one with other kinematics"
        if output.light.size != len(setup.base.components):
            return "the output is one with another base"
        return foreign(output, space.names.spectrum(row), rows, index)


def foreign(output: StarlightOutput, name: str, rows: Rows, index: int) -> str:
    """Return what shows that an output is of another spectrum than this; "" where nothing does.

    Parameters
    ----------
    output
        The output.
    name
        Of the file of the spectrum.
    rows, index
        The spectrum: its fluxes must be f_obs times fobs_norm, and the weights of fitted pixels
        fobs_norm over its errors.
    """
    if output.header["arq_obs"].strip()[:_NAME_LENGTH] != name[:_NAME_LENGTH]:
        return "the output is that of a spectrum of another name"
    place = np.searchsorted(rows.wave, output.wave - 1e-3)
    known = place < rows.wave.size
    known[known] = np.abs(rows.wave[place[known]] - output.wave[known]) < 1e-2
    place = place[known]
    good = rows.good[index][place]
    flux, error = rows.flux[index][place][good], rows.error[index][place][good]
    norm, found = output.norm_flux, output.flux[known][good]
    room = _FLUX_ROUNDING * (norm + np.abs(flux))
    if not good.any() or np.mean(np.abs(found * norm - flux) <= room) < _SAME:
        return "the output is that of another spectrum"
    weight = output.weight[known][good]
    fitted = (weight > 0) & np.isfinite(weight)
    ratio = np.median(weight[fitted] * error[fitted]) / norm if fitted.any() else 1.0
    return "" if abs(ratio - 1) < _WEIGHT_TOLERANCE else "the output is that of another spectrum"


def _empty(spectra: Spectra, n_component: int) -> ContinuumFit:
    n_row = spectra.n_spectrum
    blank: dict[str, NDArray[Any]] = {name: np.full(n_row, np.nan) for name in _PER_ROW}
    return ContinuumFit(
        **blank,
        model=np.full(spectra.flux.shape, np.nan),
        weights=np.full((n_row, n_component), np.nan),
        flags=np.zeros(n_row, np.int32),
        used=np.zeros(spectra.flux.shape, bool),
    )


def _put(
    fit: ContinuumFit, index: int, output: StarlightOutput, spectra: Spectra, setup: Setup
) -> None:
    """Write what an output says into a row of a fit."""
    scale = output.norm_flux / setup.scale
    fit.model[index] = on_native_pixels(output.model, output.wave, spectra) * scale
    fit.used[index] = _used(output, spectra) & ~spectra.mask[index]
    variance = output.value("vd_min") ** 2 - setup.excess
    for name, value in _values(output, setup).items():
        getattr(fit, name)[index] = value
    fit.sigma[index] = np.sqrt(max(variance, 0.0))
    fit.weights[index] = output.light / 100 * scale
    unresolved = int(Flag.UNRESOLVED) if variance <= 0 else 0
    fit.flags[index] = _flags(output, setup) | unresolved


def _values(output: StarlightOutput, setup: Setup) -> dict[str, float]:
    """Return the numbers of a row; STARLIGHT gives no errors."""
    n_used = output.value("Nl_eff")
    n_free = int((output.light > 0).sum()) + (3 if setup.kinematics == "FIT" else 1)
    return {
        "velocity": output.value("v0_min"),
        "av": output.value("AV_min"),
        "chi2": output.value("chi2/Nl_eff") * n_used,
        "dof": n_used - n_free,
        "mean_log_age_light": _mean_log(output.light, output.age),
        "mean_log_age_mass": _mean_log(output.mass, output.age),
        "mean_metallicity_light": _mean_log(output.light, output.metallicity),
        "mean_metallicity_mass": _mean_log(output.mass, output.metallicity),
    }


def _mean_log(share: Float[F64, " component"], values: Float[F64, " component"]) -> float:
    """Return the mean log10 of values by their shares: Cid Fernandes et al. 2005, eq. 2, 3."""
    lit = (share > 0) & (values > 0)
    return float(np.average(np.log10(values[lit]), weights=share[lit])) if lit.any() else np.nan


def _used(output: StarlightOutput, spectra: Spectra) -> Bool[B8, " native"]:
    """Return the native pixels whose centre lies in a pixel that STARLIGHT fitted."""
    wave = rest_air(spectra.wave, spectra.medium, spectra.redshift)
    step = float(np.median(np.diff(output.wave)))
    place = np.rint((wave - output.wave[0]) / step).astype(int)
    inside = (place >= 0) & (place < output.wave.size)
    return np.asarray(inside & output.used[np.clip(place, 0, output.wave.size - 1)])


def _flags(output: StarlightOutput, setup: Setup) -> int:
    """Return the flags of a row that was fitted."""
    limits = setup.config.limits
    bounds = [(output.value("AV_min"), limits.av)]
    if setup.kinematics == "FIT":
        bounds += [
            (output.value("v0_min"), limits.velocity),
            (output.value("vd_min"), limits.sigma),
        ]
    at_bound = any(_is_at(value, limit) for value, limit in bounds)
    flags = int(Flag.AT_BOUND) if at_bound else 0
    if output.value("chi2/Nl_eff") > _BAD_REDUCED_CHI2:
        flags |= int(Flag.BAD_CHI2)
    if output.value("Nl_eff") < MIN_PIXELS:
        flags |= int(Flag.FEW_PIXELS)
    return flags


def _is_at(value: float, limit: Sequence[float]) -> bool:
    slack = _AT_BOUND * (limit[1] - limit[0])
    return value <= limit[0] + slack or value >= limit[1] - slack
