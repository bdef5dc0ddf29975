"""What stands in for pPXF where it is not installed: the part of its interface that is used.

Its own maker's documentation says what the keywords and the attributes mean; how it gets there is
plain least squares, with no polynomials.
"""

from types import ModuleType, SimpleNamespace

import numpy as np
from scipy.optimize import least_squares, nnls

from betis.wavelength import C_KMS


def stand_in(
    templates,
    galaxy,
    noise,
    velscale,
    start,
    *,
    bounds,
    fixed,
    moments,
    degree,
    mdegree,
    dust,
    mask,
    lam,
    lam_temp,
    quiet,
    linear=False,
):
    """Fit one spectrum with two moments and one screen of dust."""
    assert (moments, degree, mdegree, quiet) == (2, -1, 0, True)
    assert np.isfinite(galaxy).all()
    assert np.all(noise > 0)
    np.testing.assert_allclose(np.diff(np.log(lam)) * C_KMS, velscale, rtol=1e-6)
    first = int(np.rint(np.log(lam[0] / lam_temp[0]) * C_KMS / velscale))
    turn = 2 * np.pi * np.fft.rfftfreq(len(templates), velscale)
    transform = np.fft.rfft(templates, axis=0)
    screen = dust[0]

    def solve(params):
        kernel = np.exp(-1j * params[0] * turn - 0.5 * (params[1] * turn) ** 2)
        moved = np.fft.irfft(transform * kernel[:, None], len(templates), axis=0)
        design = moved[first : first + lam.size] * screen["func"](lam, params[2])[:, None]
        weighted = (design / noise[:, None])[mask]
        weights, _ = nnls(weighted, (galaxy / noise)[mask])
        return weights, weighted @ weights - (galaxy / noise)[mask]

    at = np.array([*start, *screen["start"]], dtype=float)
    edges = np.array([*bounds, *screen["bounds"]], dtype=float)
    is_free = ~np.array([*fixed, False]) & (not linear)

    def residual(free):
        whole = at.copy()
        whole[is_free] = free
        return solve(whole)[1]

    error = np.zeros(3)
    status = 1
    if is_free.any():
        low, high = edges[is_free].T
        inside = np.clip(at[is_free], low + 1e-6, high - 1e-6)
        end = least_squares(
            residual, inside, bounds=(low, high), x_scale=[60, 60, 0.3][-low.size :]
        )
        at[is_free], status = end.x, end.status
        error[is_free] = np.sqrt(np.diag(np.linalg.pinv(end.jac.T @ end.jac)))
    weights, left = solve(at)
    return SimpleNamespace(
        sol=at[:2],
        error=error[:2],
        weights=weights,
        chi2=float(np.mean(left**2)),
        status=status,
        dust=[{**screen, "sol": at[2:]}],
    )


def module():
    """Return the module ``ppxf.ppxf`` that the engine imports."""
    made = ModuleType("ppxf.ppxf")
    made.ppxf = stand_in
    return made
