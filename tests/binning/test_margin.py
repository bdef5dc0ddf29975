"""A bin is not accepted for the noise that happens to be in it."""

import numpy as np
import pytest

import betis
from betis.binning.quadtree import quadtree
from betis.binning.voronoi import voronoi
from betis.mock import MockOptions, make_galaxy, read_truth, truth_path, write_cube
from betis.options import BinningOptions

SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Measured signal and noise, and true flux, of [S II] 6731 in mock galaxies."""
    folder, maps = tmp_path_factory.mktemp("margin"), []
    for seed in SEEDS:
        path = folder / f"galaxy{seed}.fits"
        write_cube(make_galaxy(MockOptions(seed=seed, wave_min=6300.0, wave_max=6950.0)), path)
        truth = read_truth(truth_path(path))
        cube = betis.prepare(betis.read_cube(path), redshift=truth.redshift)
        snr = betis.line_snr(cube, "SII6731")
        maps.append((snr.signal, snr.noise, truth.flux[truth.names.index("SII6731")]))
    return maps


def share_that_truly_reaches(binning, galaxies, options):
    """Of the spaxels in bins without a flag, the share in bins of true S/N of the target."""
    reached = total = 0
    for signal, noise, true in galaxies:
        bins = binning(signal, noise, options)
        inside = bins.bin_id >= 0
        row = bins.bin_id[inside]
        flux = np.bincount(row, np.nan_to_num(true[inside]))
        good = flux / np.sqrt(np.bincount(row, noise[inside] ** 2)) >= options.target
        accepted = bins.flags == 0
        reached += bins.n_spaxel[accepted & good].sum()
        total += bins.n_spaxel[accepted].sum()
    return reached / total


@pytest.mark.parametrize("binning", [quadtree, voronoi])
def test_what_is_not_flagged_truly_reaches_the_target(binning, galaxies):
    for galaxy in galaxies:
        assert share_that_truly_reaches(binning, [galaxy], BinningOptions()) >= 0.99
    assert share_that_truly_reaches(binning, galaxies, BinningOptions(margin=0.0)) < 0.98


@pytest.mark.parametrize("binning", [quadtree, voronoi])
def test_the_margin_costs_about_a_tenth_of_the_bins(binning, galaxies):
    count = {
        margin: sum(
            np.sum(binning(signal, noise, BinningOptions(margin=margin)).flags == 0)
            for signal, noise, _ in galaxies
        )
        for margin in (0.0, 1.0)
    }
    assert 0.83 < count[1.0] / count[0.0] < 0.95


@pytest.mark.parametrize("binning", [quadtree, voronoi])
def test_a_bin_with_just_the_margin_is_accepted_whatever_the_unit(binning):
    for noise in np.random.default_rng(0).uniform(1e-21, 1e-19, 20):
        signal = np.zeros((9, 9))
        signal[4, 4] = 11.0 * noise
        bins = binning(signal, np.full((9, 9), noise), BinningOptions(target=10.0, margin=1.0))
        assert bins.n_spaxel[bins.flags == 0].tolist() == [1]
