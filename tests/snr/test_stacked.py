"""The S/N of bins measured on their stacked spectra is what was promised, where that was true."""

import numpy as np
import pytest
from tests.cubes import WAVE, cube, line, noise_cube

import betis
from betis.binning.quadtree import quadtree
from betis.binning.quality import bin_map
from betis.errors import InputError
from betis.linelist import load_line_set
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.options import BinningOptions, PrepareOptions, SnrOptions
from betis.preparation import prepare
from betis.products import RowStream
from betis.snr import line_snr, measured_snr, window_cube
from betis.stacking import stack, stack_rows

LINES = load_line_set()
CHOICES = [
    "SII6731",
    "SII6716+SII6731",
    "min(Ha6563,SII6731)",
    "min(NII6548,SII6716+SII6731)",
    "continuum:6600-6700",
]


def field(shape=(16, 16), rotation=0.0, seed=2, redshift=0.0):
    """A cube of four lines whose velocity rises along x, rest frame."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(30.0, 1.0, (WAVE.size, *shape))
    for x in range(shape[1]):
        velocity = rotation * (x - (shape[1] - 1) / 2)
        for air, total in ((6562.80, 300), (6583.45, 100), (6716.44, 20), (6730.815, 15)):
            profile = line(WAVE, air, total, sigma=50.0, velocity=velocity, redshift=redshift)
            flux[:, :, x] += profile[:, None]
    observed = cube(flux, np.ones(flux.shape))
    return prepare(observed, PrepareOptions(redshift=redshift))


def blocks(snr_map, size):
    """Bins of size x size spaxels."""
    y, x = np.indices(snr_map.signal.shape) // size
    number = (y * (x.max() + 1) + x).astype(np.int32)
    return bin_map(number, snr_map.signal, snr_map.noise, BinningOptions(target=5.0))


def both(galaxy, bins=None, size=4, **options):
    chosen = SnrOptions(**options)
    snr_map = line_snr(galaxy, LINES, chosen)
    bins = bins or blocks(snr_map, size)
    stacked = stack_rows(window_cube(galaxy, LINES, chosen), bins)
    return bins, measured_snr(stacked, bins, snr_map, LINES, chosen)


@pytest.mark.parametrize("line_name", CHOICES)
@pytest.mark.parametrize("method", ["matched", "betis"])
def test_bins_of_one_spaxel_have_the_snr_of_the_map(line_name, method):
    galaxy = field((9, 8))
    options = SnrOptions(line=line_name, method=method)
    snr_map = line_snr(galaxy, LINES, options)
    _, found = both(galaxy, size=1, line=line_name, method=method)
    if len(found.names) == 1:
        np.testing.assert_allclose(found.snr, snr_map.snr.ravel(), rtol=1e-8)
        np.testing.assert_allclose(found.signal, snr_map.signal.ravel(), rtol=1e-8)
    else:
        parts = [
            line_snr(galaxy, LINES, SnrOptions(line=name, method=method)) for name in found.names
        ]
        assert found.snr.shape == (72,)
        for part, signal in zip(parts, found.signals, strict=True):
            # The bright line alone gives its own velocities, smoothed first.
            difference = (signal - part.signal.ravel()) / part.noise.ravel()
            assert np.abs(difference).max() < (0.5 if method == "matched" else 1e-8)


@pytest.mark.parametrize("line_name", CHOICES)
def test_what_is_measured_is_what_was_promised_without_rotation(line_name):
    bins, found = both(field(), line=line_name)
    assert np.median(found.snr / bins.snr) == pytest.approx(1.0, abs=0.03)


def test_a_gradient_inside_bins_costs_what_is_lost():
    bins, still = both(field(), line="SII6731", size=8)
    turning, moving = both(field(rotation=30.0), line="SII6731", size=8)
    assert np.median(still.snr / bins.snr) == pytest.approx(1.0, abs=0.02)
    assert np.median(moving.snr / turning.snr) < 0.97
    assert moving.signal.mean() == pytest.approx(64 * 15, rel=0.05)


def test_pure_noise_is_unbiased_in_bins_too():
    galaxy = prepare(noise_cube((96, 96), seed=6), PrepareOptions(redshift=0.0))
    _, found = both(galaxy, size=2)
    assert found.snr.mean() == pytest.approx(0.0, abs=0.05)
    assert found.snr.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("line_name", CHOICES)
@pytest.mark.parametrize("method", ["matched", "betis"])
def test_the_window_holds_all_that_the_whole_spectra_hold(line_name, method):
    galaxy, options = field(), SnrOptions(line=line_name, method=method)
    snr_map = line_snr(galaxy, LINES, options)
    bins = blocks(snr_map, 4)
    cut = window_cube(galaxy, LINES, options)
    assert cut.wave.size < 0.75 * galaxy.wave.size
    one, other = (
        measured_snr(stack_rows(part, bins), bins, snr_map, LINES, options)
        for part in (galaxy, cut)
    )
    np.testing.assert_allclose(other.signals, one.signals, rtol=1e-10)
    np.testing.assert_allclose(other.noises, one.noises, rtol=1e-10)


def test_signal_and_noise_are_those_of_the_worst_line():
    _, found = both(field(), line="min(Ha6563,SII6731)")
    assert found.names == ("Ha6563", "SII6731")
    np.testing.assert_array_equal(found.signal, found.signals[1])
    np.testing.assert_array_equal(found.snr, found.signal / found.noise)


def test_a_bin_without_data_is_nan_and_touches_no_other():
    galaxy = field()
    snr_map = line_snr(galaxy, LINES, SnrOptions())
    bins = blocks(snr_map, 4)
    spectra = stack(galaxy, bins)
    spectra.mask[3], spectra.error[3] = True, np.inf
    pieces = RowStream(n_row=bins.n_bin, pieces=[(slice(0, bins.n_bin), spectra)])
    bad = measured_snr(pieces, bins, snr_map, LINES, SnrOptions())
    _, clean = both(galaxy)
    assert np.flatnonzero(np.isnan(bad.snr)).tolist() == [3]
    np.testing.assert_allclose(np.delete(bad.snr, 3), np.delete(clean.snr, 3), rtol=1e-10)


def test_spectra_of_other_bins_are_refused():
    galaxy = field((8, 8))
    snr_map = line_snr(galaxy, LINES, SnrOptions())
    bins, others = blocks(snr_map, 4), blocks(snr_map, 2)
    with pytest.raises(InputError, match=r"16 stacked spectra, 4 bins of .* belong together"):
        measured_snr(stack_rows(galaxy, others), bins, snr_map, LINES, SnrOptions())


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    path = tmp_path_factory.mktemp("mock") / "mock.fits"
    write_cube(make_galaxy(MockOptions(seed=2, wave_min=6450.0, wave_max=6950.0)), path)
    return betis.prepare(betis.read_cube(path), redshift=0.01)


@pytest.mark.parametrize("line_name", ["SII6731", "SII6716+SII6731", "min(Ha6563,SII6731)"])
def test_the_bins_of_a_rotating_galaxy_have_what_they_promise(mock, line_name):
    snr_map = line_snr(mock, LINES, SnrOptions(line=line_name))
    bins = quadtree(snr_map.signal, snr_map.noise, BinningOptions(target=10.0))
    _, found = both(mock, bins, line=line_name)
    several = (bins.flags == 0) & (bins.n_spaxel > 1)
    assert several.sum() > 50
    assert np.median(found.snr[several] / bins.snr[several]) == pytest.approx(1.0, abs=0.03)
