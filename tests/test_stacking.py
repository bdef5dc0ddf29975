"""Stacking conserves flux and propagates noise, tile by tile."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from tests.cubes import WAVE, cube, noise_cube

from betis.binning.quadtree import quadtree
from betis.errors import InputError
from betis.options import BinningOptions
from betis.products import BinMap, Cube
from betis.products.cube import CubeBlock
from betis.stacking import stack, stack_rows


def binned(shape=(21, 17), seed=0, correlation=0.0):
    rng = np.random.default_rng(seed)
    signal = rng.uniform(0, 6, shape)
    signal[0, :3] = np.nan
    return quadtree(signal, np.ones(shape), BinningOptions(correlation=correlation))


def test_flux_and_variance_of_all_spaxels_are_kept():
    observed, bins = noise_cube((21, 17)), binned()
    spectra = stack(observed, bins)
    inside = bins.bin_id >= 0
    block = observed.read()
    np.testing.assert_allclose(spectra.flux.sum(0), block.flux[:, inside].sum(1), rtol=1e-10)
    np.testing.assert_allclose(
        (spectra.error**2).sum(0), block.variance[:, inside].sum(1), rtol=1e-10
    )


def test_each_row_is_its_own_bin():
    observed, bins = noise_cube((21, 17)), binned()
    spectra, block = stack(observed, bins), observed.read()
    for row in (0, bins.n_bin // 2, bins.n_bin - 1):
        expected = block.flux[:, bins.bin_id == row].sum(1)
        np.testing.assert_allclose(spectra.flux[row], expected, rtol=1e-10, atol=1e-9)


def test_tiles_change_nothing(monkeypatch):
    observed, bins = noise_cube((21, 17)), binned()
    whole = stack(observed, bins)
    tiles = Cube.tiles
    monkeypatch.setattr(Cube, "tiles", lambda self, n: tiles(self, n, max_voxel=20_000))
    np.testing.assert_allclose(stack(observed, bins).flux, whole.flux, rtol=1e-12, atol=1e-9)


def test_bins_come_out_as_soon_as_the_tiles_have_passed_them(monkeypatch):
    observed, bins = noise_cube((21, 17)), binned()
    whole, tiles = stack(observed, bins), Cube.tiles
    monkeypatch.setattr(Cube, "tiles", lambda self, n: tiles(self, n, max_voxel=20_000))
    pieces = list(stack_rows(observed, bins).pieces)
    assert len(pieces) > 3
    assert sorted(np.concatenate([rows for rows, _ in pieces])) == list(range(bins.n_bin))
    first, part = pieces[0]
    np.testing.assert_allclose(part.flux, whole.flux[first], rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(part.n_spaxel, bins.n_spaxel[first])


def spaxel_bins(shape):
    ids = np.random.default_rng(5).permutation(shape[0] * shape[1]).astype(np.int32).reshape(shape)
    ids[2, 3:9] = -1
    kept = np.unique(ids[ids >= 0], return_inverse=True)[1]
    ids[ids >= 0] = kept
    n_bin = kept.max() + 1
    one = np.ones(n_bin, np.int32)
    return BinMap(bin_id=ids, n_spaxel=one, snr=one.astype(float), flags=0 * one)


@pytest.mark.parametrize("bins", [binned(), spaxel_bins((21, 17))], ids=["bins", "spaxels"])
@pytest.mark.parametrize("voxels", [1, 357 * 7, 10**9])
def test_how_deep_blocks_are_changes_not_a_bit(bins, voxels, monkeypatch):
    observed = noise_cube((21, 17))
    whole = stack(observed, bins)
    monkeypatch.setattr("betis.stacking._VOXELS", voxels)
    monkeypatch.setattr("betis.stacking._ROWS", 1 + voxels % 50)
    again = stack(observed, bins)
    for name in ("flux", "error", "mask"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_a_spaxel_that_is_a_bin_is_its_spectrum():
    observed, bins = noise_cube((21, 17)), spaxel_bins((21, 17))
    spectra, block, inside = stack(observed, bins), observed.read(), bins.bin_id >= 0
    row = bins.bin_id[inside]
    np.testing.assert_array_equal(spectra.flux[row], block.flux[:, inside].T)
    error = np.where(block.mask, np.inf, np.sqrt(block.variance))
    np.testing.assert_array_equal(spectra.error[row], error[:, inside].T)
    np.testing.assert_array_equal(spectra.mask[row], block.mask[:, inside].T)


def test_memory_is_that_of_the_sums_of_a_tile(monkeypatch):
    shape = (120, 40)
    values = np.ones((WAVE.size, *shape), np.float32)
    observed, bins = cube(values, values), spaxel_bins(shape)
    source = replace(observed, source=Singles(observed.source))
    tiles, max_voxel = Cube.tiles, WAVE.size * 40 * 20
    monkeypatch.setattr(Cube, "tiles", lambda self, n: tiles(self, n, max_voxel=max_voxel))
    tracemalloc.start()
    for _ in stack_rows(source, bins).pieces:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    three_sums = 3 * 8 * max_voxel
    assert peak < 1.5 * three_sums + 20_000_000


class Singles:
    """A cube in memory that gives a copy of the block asked for, and no more."""

    def __init__(self, source):
        self.source = source

    def read(self, rows, waves):
        return CubeBlock(*(part.copy() for part in self.source.read(rows, waves)))


@pytest.mark.parametrize("max_voxel", [800, 10**7])
def test_copies_of_one_spectrum_do_not_beat_the_noise_down(max_voxel, monkeypatch):
    copies = np.array([[0, 0, 1], [0, 0, -1]], dtype=np.int32)
    flux = np.ones((WAVE.size, 2, 3))
    observed = replace(cube(flux, 4.0 * flux), copies=copies)
    one_bin = BinMap(
        bin_id=np.zeros((2, 3), np.int32),
        n_spaxel=np.array([6], np.int32),
        snr=np.ones(1),
        flags=np.zeros(1, np.int32),
    )
    tiles = Cube.tiles
    monkeypatch.setattr(Cube, "tiles", lambda self, n: tiles(self, n, max_voxel=max_voxel))
    spectra = stack(observed, one_bin)
    # four copies: 4² x 4; two spectra of their own: 4 each
    np.testing.assert_allclose(spectra.error[0], np.sqrt(16 * 4 + 4 + 4))
    np.testing.assert_allclose(spectra.flux[0], 6.0)


def test_one_bad_spaxel_takes_the_mean_of_its_bin_and_no_pixel_is_lost():
    flux = np.full((WAVE.size, 4, 4), 5.0)
    flux[10, 1, 1] = np.nan
    bins = quadtree(np.ones((4, 4)), np.ones((4, 4)), BinningOptions(target=4.0))
    spectra = stack(cube(flux, np.ones_like(flux)), bins)
    assert bins.n_bin == 1
    assert spectra.flux[0, 10] == pytest.approx(80.0)
    assert spectra.error[0, 10] == pytest.approx(np.sqrt(15) * 16 / 15)
    assert not spectra.mask.any()


def test_a_pixel_without_half_its_spaxels_is_masked():
    flux = np.full((WAVE.size, 2, 2), 5.0)
    flux[10, 0, :] = np.nan
    flux[11, :, :] = np.nan
    flux[10, 1, 0] = np.nan
    bins = quadtree(np.ones((2, 2)), np.ones((2, 2)), BinningOptions(target=2.0))
    mask = stack(cube(flux, np.ones_like(flux)), bins).mask[0]
    assert np.flatnonzero(mask).tolist() == [10, 11]


def test_correlated_noise_grows_with_the_number_of_spaxels():
    observed = noise_cube((21, 17))
    plain, grown = stack(observed, binned()), binned(correlation=1.07)
    spectra = stack(observed, grown)
    alone = grown.n_spaxel == 1
    growth = 1 + 1.07 * np.log10(grown.n_spaxel)
    quadratic = np.sqrt(4.0 * grown.n_spaxel)
    np.testing.assert_allclose(spectra.error[:, 0], quadratic * growth)
    assert np.allclose(spectra.error[alone, 0], plain.error.min())


def test_the_error_grows_as_the_bins_say():
    observed, bins = noise_cube((21, 17)), binned(correlation="gaussian:1.2")
    spectra = stack(observed, bins)
    quadratic = np.sqrt(4.0 * bins.n_spaxel)
    np.testing.assert_allclose(spectra.error[:, 0], quadratic * bins.growth)
    assert bins.growth.max() > 1.5


def test_bins_of_another_field_are_refused():
    with pytest.raises(InputError, match=r"the bins cover \(21, 17\) spaxels .* the cube \(5, 5\)"):
        stack(noise_cube((5, 5)), binned())
