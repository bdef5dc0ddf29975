"""Mock galaxy to file to `betis.read_cube`: flux, error, mask and axis are what was written."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from tests.mock.observed import CASES, WAYS, read_plainly

import betis
from betis.lsf import FWHM_PER_SIGMA
from betis.mock import make_galaxy, write_cube
from betis.mock.spectra import make_renderer


def opened(files):
    """Return the cube of what `write_cube` wrote, opened as a user would."""
    first, *others = files
    if not others:
        return betis.read_cube(first)
    if others[0].suffix == ".toml":
        return betis.read_cube(first, instrument=others[0])
    return betis.read_cube(first, arm=others[0])


@pytest.fixture(scope="module", params=CASES)
def trip(request, tmp_path_factory):
    """Return a galaxy, its cube as betis reads it, and what astropy finds in the files."""
    galaxy = make_galaxy(CASES[request.param])
    files = write_cube(galaxy, tmp_path_factory.mktemp("mock") / "galaxy.fits")
    instrument = galaxy.options.instrument
    arms = [
        read_plainly(path, instrument)
        for _, path in zip(galaxy.options.setups, files, strict=False)
    ]
    plain = [np.concatenate(parts) for parts in zip(*arms, strict=True)]
    return galaxy, opened(files), plain


def usable(galaxy, mask):
    """Return the mask with the pixels on either side of a gap between two arms, as betis does."""
    joint = np.cumsum([setup.axis.count for setup in galaxy.options.setups])[:-1]
    beside = np.zeros(len(mask), bool)
    beside[joint] = beside[joint - 1] = True
    return ~(mask | beside[:, None, None])


def test_flux_error_and_mask_are_those_of_the_file(trip):
    galaxy, cube, (flux, sigma, mask, _) = trip
    block, good = cube.read(), usable(galaxy, trip[2][2])
    unit = WAYS[galaxy.options.instrument].scale / 1e-20
    np.testing.assert_array_equal(block.mask, ~good)
    np.testing.assert_allclose(unit * block.flux[good], flux[good], rtol=1e-14)
    np.testing.assert_allclose(unit * np.sqrt(block.variance[good]), sigma[good], rtol=1e-12)
    assert np.all(block.flux[~good] == 0)
    assert 0.8 < good.mean() < 1
    assert mask.any()


def test_the_axis_is_the_setups(trip):
    galaxy, cube, (_, _, _, wave) = trip
    setups = galaxy.options.setups
    expected = np.concatenate([setup.wave for setup in setups])
    np.testing.assert_allclose(cube.wave, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(cube.wave, wave, rtol=0, atol=1e-6)
    inner = np.concatenate([setup.edges[1:-1] for setup in setups])
    missing = [np.abs(cube.edges - edge).min() for edge in inner]
    assert max(missing) < 1e-6
    assert cube.medium == setups[0].medium


def test_the_resolution_is_what_the_galaxy_was_seen_with(trip):
    galaxy, cube, _ = trip
    expected = np.concatenate([setup.lsf(setup.wave) for setup in galaxy.options.setups])
    np.testing.assert_allclose(cube.lsf, expected, rtol=1e-6)
    assert np.all(cube.lsf > 0.5 * np.diff(cube.edges).min() / FWHM_PER_SIGMA)


def test_instrument_unit_and_extinction_are_understood(trip):
    galaxy, cube, _ = trip
    setup = galaxy.options.setups[0]
    assert cube.instrument == setup.name.removesuffix("-lin")
    assert cube.sky.flux_scale == setup.scale
    assert cube.dereddened == setup.dereddened
    assert cube.noise_kind == WAYS[setup.name].kind
    assert cube.copies is None


@pytest.mark.parametrize("instrument", ["muse", "manga", "califa", "sami"])
def test_prepared_cubes_have_no_galactic_extinction(instrument, tmp_path, monkeypatch):
    monkeypatch.setattr("betis.mock.files.draw_noise", lambda *_: 0.0)
    options = replace(CASES[instrument], av=0.8)
    galaxy, clear = make_galaxy(options), make_galaxy(replace(options, av=0.0))
    cube = opened(write_cube(galaxy, tmp_path / "dusty.fits"))
    told = pytest.warns(UserWarning, match="the survey has removed the Galactic extinction")
    with told if cube.dereddened else nullcontext():
        rest = betis.prepare(cube, 0.01, av=0.8)
    model = np.concatenate([make_renderer(clear, setup).flux() for setup in options.setups])
    good = usable(galaxy, np.broadcast_to(~galaxy.field, model.shape))
    found = rest.read().flux[good] * rest.sky.flux_scale / 1e-20 / 1.01
    np.testing.assert_allclose(found, model[good], rtol=1e-5)
