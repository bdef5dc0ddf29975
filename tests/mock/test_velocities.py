"""One galaxy through three instruments: H beta and [S III] 9069 have one velocity, the true one.

An axis that is stretched, read in the wrong medium, or linear where it is logarithmic shifts the
two lines by tens of km/s against each other or against the truth.
"""

from dataclasses import replace

import numpy as np
import pytest

import betis
from betis.flags import Flag
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.mock.spectra import make_renderer
from betis.products import BinMap, Spectra
from betis.wavelength import vacuum_to_air

LINES = """
[set]
name = "blue and red"

[[line]]
name = "Hb4861"
air = 4861.33
kinematics = "Hb"

[[line]]
name = "SIII9069"
air = 9068.61
kinematics = "SIII"
"""
SPAXELS = (slice(2, 6), slice(2, 6))
"""4 x 4 spaxels in the middle of the field."""


@pytest.fixture(scope="module", params=["muse", "manga", "manga-lin", "califa"])
def observed(request, tmp_path_factory):
    """Return a galaxy, and its prepared cube as read from the instrument's file."""
    options = MockOptions(
        n_y=8, n_x=8, snr=3e4, instrument=request.param, wave_min=4800.0, wave_max=9250.0
    )
    galaxy = make_galaxy(options)
    (path,) = write_cube(galaxy, tmp_path_factory.mktemp("mock") / "galaxy.fits")
    return galaxy, betis.prepare(betis.read_cube(path), redshift=options.redshift)


@pytest.fixture(scope="module")
def line_set(tmp_path_factory):
    path = tmp_path_factory.mktemp("lines") / "two.toml"
    path.write_text(LINES)
    return path


def gas_of(galaxy, cube):
    """Return the spectra of single spaxels, a row each, without the true stars."""
    rows, columns = SPAXELS
    dark = replace(galaxy, truth=replace(galaxy.truth, flux=0 * galaxy.truth.flux))
    stars = make_renderer(dark).flux(rows)[:, :, columns] * (1 + cube.redshift)
    stars *= 1e-20 / cube.sky.flux_scale
    spectra = betis.stack(cube, single_spaxels(cube.sky.shape))
    flux = spectra.flux - stars.reshape(len(stars), -1).T
    return Spectra(
        spectra.wave,
        flux,
        spectra.error,
        spectra.mask,
        medium=spectra.medium,
        lsf=spectra.lsf,
        edges=spectra.edges,
        redshift=spectra.redshift,
        sky=spectra.sky,
    )


def single_spaxels(shape):
    bin_id = np.full(shape, -1, np.int32)
    bin_id[SPAXELS] = np.arange(16).reshape(4, 4)
    return BinMap(
        bin_id=bin_id,
        n_spaxel=np.ones(16, np.int32),
        snr=np.full(16, np.nan),
        flags=np.zeros(16, np.int32),
    )


def velocities(gas, line_set):
    """Return the velocity (km/s) of H beta and of [S III] in each spaxel."""
    found = betis.fit_lines(gas, lines=line_set)
    assert not np.any(found.flags & (Flag.NOT_CONVERGED | Flag.AT_BOUND | Flag.FIT_FAILED))
    assert found.velocity_err.max() < 0.2
    return found.velocity.T


def test_both_lines_have_the_true_velocity(observed, line_set):
    galaxy, cube = observed
    truth = galaxy.truth.velocity[SPAXELS].ravel()
    blue, red = velocities(gas_of(galaxy, cube), line_set)
    assert np.ptp(truth) > 50
    assert np.abs(blue - red).max() < 1
    assert np.abs(blue - truth).max() < 1
    assert np.abs(red - truth).max() < 1


def test_both_lines_have_the_true_flux(observed, line_set):
    galaxy, cube = observed
    found = betis.fit_lines(gas_of(galaxy, cube), lines=line_set)
    flux = found.flux.T * cube.sky.flux_scale / 1e-20
    for name, fluxes in zip(found.names, flux, strict=True):
        truth = galaxy.truth.flux[galaxy.truth.names.index(name)][SPAXELS].ravel()
        assert fluxes == pytest.approx(truth, rel=2e-3)


@pytest.mark.parametrize("mistake", ["medium", "stretch"])
def test_an_axis_that_is_misread_would_be_seen(observed, line_set, mistake):
    galaxy, cube = observed
    shift = vacuum_to_air(cube.wave) - cube.wave
    if mistake == "stretch":  # one pixel over the whole axis
        shift = np.linspace(0, 1, cube.wave.size) * np.diff(cube.edges)
    gas = gas_of(galaxy, cube)
    edges = cube.edges + np.interp(cube.edges, cube.wave, shift)
    _, red = velocities(replace(gas, wave=cube.wave + shift, edges=edges), line_set)
    assert np.abs(red - galaxy.truth.velocity[SPAXELS].ravel()).max() > 30
