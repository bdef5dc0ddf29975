"""The containers: how they clean, refuse, paint and subtract."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from betis.errors import InputError
from betis.products import (
    BinMap,
    ContinuumFit,
    Cube,
    CubeBlock,
    LineFit,
    Sky,
    SnrMap,
    Spectra,
    Templates,
)
from betis.wavelength import pixel_edges

WAVE = np.linspace(5000.0, 5020.0, 9)
VALUES = st.floats(-1e3, 1e3) | st.sampled_from([np.nan, np.inf, -np.inf])
ERRORS = st.floats(0.1, 10.0) | st.sampled_from([np.nan, np.inf, 0.0, -1.0])


def rows(elements):
    return arrays(float, (3, WAVE.size), elements=elements)


class _InMemory:
    """A source of voxels made of arrays."""

    def __init__(self, flux, variance, mask):
        self.block = CubeBlock(flux, variance, mask)

    def read(self, rows, waves):
        return CubeBlock(*(part[waves, rows].copy() for part in self.block))


def make_cube(**changes):
    flux = np.arange(9 * 4 * 5, dtype=float).reshape(9, 4, 5)
    mask = np.zeros(flux.shape, bool)
    mask[2, 1, 3] = True
    source = _InMemory(np.where(mask, 0, flux), np.where(mask, 0.0, 4.0), mask)
    values = {
        "source": source,
        "wave": WAVE,
        "edges": pixel_edges(WAVE),
        "medium": "air",
        "lsf": np.full(9, 2.5),
        "sky": Sky(shape=(4, 5)),
    }
    return Cube(**(values | changes))


def make_bins():
    bin_id = np.array([[0, 0, -1], [1, 0, 2]], dtype=np.int32)
    return BinMap(
        bin_id=bin_id,
        n_spaxel=np.array([3, 1, 1], dtype=np.int32),
        snr=np.ones(3),
        flags=np.zeros(3, dtype=np.int32),
    )


def make_continuum(model):
    one = np.zeros(len(model))
    names = {field.name for field in dataclasses.fields(ContinuumFit)}
    return ContinuumFit(**(dict.fromkeys(names, one) | {"model": model}))


class TestCube:
    def test_bad_voxels_are_nan_in_flux_and_error_and_nowhere_else(self):
        cube = make_cube()
        assert cube.shape == (9, 4, 5)
        np.testing.assert_array_equal(np.isnan(cube.flux), cube.mask)
        np.testing.assert_array_equal(np.isnan(cube.error), cube.mask)
        assert np.nanmax(cube.error) == 2.0

    @given(first=st.integers(0, 3), last=st.integers(4, 9))
    def test_a_block_is_a_part_of_the_whole_with_its_factor(self, first, last):
        cube = make_cube(factor=np.linspace(1.0, 3.0, 9))
        block = cube.read(slice(1, 3), slice(first, last))
        whole = cube.read()
        for part, all_of_it in zip(block, whole, strict=True):
            np.testing.assert_array_equal(part, all_of_it[first:last, 1:3])

    def test_the_factor_scales_flux_and_error_alike(self):
        factor = np.linspace(1.0, 3.0, 9)
        plain, scaled = make_cube(), make_cube(factor=factor)
        np.testing.assert_allclose(scaled.flux, plain.flux * factor[:, None, None])
        np.testing.assert_allclose(scaled.error, plain.error * factor[:, None, None])

    @given(n_wave=st.integers(1, 50), max_voxel=st.integers(1, 400))
    def test_tiles_cover_each_image_row_once_and_stay_small(self, n_wave, max_voxel):
        tiles = list(make_cube().tiles(n_wave, max_voxel))
        covered = np.concatenate([np.arange(4)[tile] for tile in tiles])
        np.testing.assert_array_equal(covered, np.arange(4))
        for tile in tiles:
            height = tile.stop - tile.start
            assert height == 1 or height * 5 * n_wave <= max_voxel


class TestSnrMap:
    @pytest.mark.parametrize("noise", [0.0, -1.0, np.nan, np.inf])
    def test_no_noise_means_no_ratio(self, noise):
        snr = SnrMap(
            signal=np.array([[4.0, 4.0]]),
            noise=np.array([[noise, 2.0]]),
            continuum=np.zeros((1, 2)),
            line="SII6731",
            method="matched",
        ).snr
        np.testing.assert_array_equal(snr, [[np.nan, 2.0]])


class TestBinMap:
    def test_painting_puts_the_value_of_a_bin_on_its_spaxels(self):
        painted = make_bins().paint(np.array([10.0, 20.0, 30.0]))
        np.testing.assert_array_equal(painted, [[10, 10, np.nan], [20, 10, 30]])

    def test_the_row_axis_of_a_table_becomes_the_last_two_of_a_map(self):
        values = np.arange(12.0).reshape(3, 4)
        painted = make_bins().paint(values)
        assert painted.shape == (4, 2, 3)
        np.testing.assert_array_equal(painted[:, 1, 2], values[2])
        assert np.isnan(painted[:, 0, 2]).all()

    def test_whole_numbers_stay_whole_where_the_blank_is(self):
        painted = make_bins().paint(np.array([1, 2, 4], dtype=np.int32), blank=-1)
        assert painted.dtype.kind == "i"
        np.testing.assert_array_equal(painted, [[1, 1, -1], [2, 1, 4]])

    @given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6)), seed=st.integers(0, 99))
    def test_summing_over_a_bins_spaxels_undoes_painting_a_share(self, shape, seed):
        random = np.random.default_rng(seed)
        bin_id = np.unique(random.integers(0, 5, shape), return_inverse=True)[1].astype(np.int32)
        bin_id = bin_id.reshape(shape)
        count = np.bincount(bin_id.ravel()).astype(np.int32)
        bins = BinMap(bin_id=bin_id, n_spaxel=count, snr=count * 1.0, flags=count * 0)
        values = random.normal(size=bins.n_bin)
        painted = bins.paint(values / count)
        np.testing.assert_allclose(np.bincount(bin_id.ravel(), painted.ravel()), values, rtol=1e-12)

    def test_centres_are_the_mean_places_of_the_spaxels(self):
        y, x = make_bins().centers
        np.testing.assert_allclose(y, [1 / 3, 1, 1])
        np.testing.assert_allclose(x, [2 / 3, 0, 2])


class TestSpectra:
    @given(flux=rows(VALUES), error=rows(ERRORS), mask=arrays(bool, (3, WAVE.size)))
    def test_bad_pixels_take_one_form_and_good_ones_stay(self, flux, error, mask):
        spectra = Spectra(WAVE, flux, error, mask=mask)
        bad = mask | ~np.isfinite(flux) | ~np.isfinite(error) | (error <= 0)
        np.testing.assert_array_equal(spectra.mask, bad)
        assert np.all(spectra.flux[bad] == 0)
        assert np.all(np.isposinf(spectra.error[bad]))
        np.testing.assert_array_equal(spectra.flux[~bad], flux[~bad])
        np.testing.assert_array_equal(spectra.error[~bad], error[~bad])

    @given(flux=rows(VALUES), error=rows(ERRORS))
    def test_cleaning_twice_is_cleaning_once(self, flux, error):
        once = Spectra(WAVE, flux, error)
        twice = dataclasses.replace(once)
        for field in ("flux", "error", "mask"):
            np.testing.assert_array_equal(getattr(once, field), getattr(twice, field))

    def test_one_spectrum_becomes_one_row(self):
        spectra = Spectra(WAVE, np.ones(9), np.ones(9))
        assert spectra.flux.shape == (1, 9)
        assert spectra.n_spectrum == 1

    def test_what_is_not_given_is_filled_in(self):
        spectra = Spectra(WAVE, np.ones((2, 9)), np.ones((2, 9)), lsf=2.5)
        np.testing.assert_array_equal(spectra.edges, pixel_edges(WAVE))
        np.testing.assert_array_equal(spectra.lsf, np.full(9, 2.5))
        np.testing.assert_array_equal(spectra.n_spaxel, [1, 1])
        assert not spectra.sky_window.any()
        assert not Spectra(WAVE, np.ones(9), np.ones(9)).lsf.any()

    def test_the_arrays_given_are_left_as_they_were(self):
        flux = np.array([[1.0, np.nan] + [1.0] * 7])
        Spectra(WAVE, flux, np.ones((1, 9)))
        assert np.isnan(flux[0, 1])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"flux": np.ones((2, 8))}, r"flux has shape \(2, 8\), where \(spectrum, 9\) was exp"),
            ({"flux": np.ones((1, 2, 9))}, r"flux has shape \(1, 2, 9\), where \(spectrum, 9\)"),
            (
                {"error": np.ones((3, 9))},
                r"shapes \(2, 9\), \(3, 9\) and \(2, 9\), where they must",
            ),
            ({"mask": np.zeros(9, bool)}, r"\(2, 9\), \(2, 9\) and \(1, 9\), where they must be t"),
            ({"wave": WAVE[::-1]}, "strictly increasing"),
            ({"medium": "water"}, "medium is 'water', where it must be 'air' or 'vacuum'"),
            ({"edges": np.ones(9)}, r"edges has shape \(9,\), where \(10,\) was expected"),
            ({"lsf": np.ones(8)}, r"lsf has shape \(8,\), where \(9,\) was expected"),
            ({"sky_window": np.zeros(8, bool)}, r"sky_window has shape \(8,\), where \(9,\) was"),
            ({"n_spaxel": np.ones(3, int)}, r"n_spaxel has shape \(3,\), where \(2,\) was expec"),
        ],
    )
    def test_shapes_that_disagree_are_refused(self, changes, message):
        values = {"wave": WAVE, "flux": np.ones((2, 9)), "error": np.ones((2, 9))} | changes
        with pytest.raises(InputError, match=message):
            Spectra(**values)

    @given(flux=rows(VALUES), model=rows(st.floats(-1e3, 1e3)))
    def test_subtracting_changes_the_flux_of_good_pixels_only(self, flux, model):
        spectra = Spectra(WAVE, flux, np.ones((3, 9)))
        gas = spectra.subtract(make_continuum(model))
        good = ~spectra.mask
        np.testing.assert_array_equal(gas.flux[good], (spectra.flux - model)[good])
        assert np.all(gas.flux[~good] == 0)
        np.testing.assert_array_equal(gas.error, spectra.error)
        np.testing.assert_array_equal(gas.mask, spectra.mask)

    def test_a_row_whose_continuum_failed_is_masked_and_no_other(self):
        model = np.zeros((2, 9))
        model[1] = np.nan
        gas = Spectra(WAVE, np.ones((2, 9)), np.ones((2, 9))).subtract(model)
        np.testing.assert_array_equal(gas.mask.all(axis=1), [False, True])
        assert not gas.mask[0].any()

    def test_the_continuum_of_other_spectra_is_refused(self):
        spectra = Spectra(WAVE, np.ones((2, 9)), np.ones((2, 9)))
        message = r"continuum has shape \(3, 9\), where these spectra have \(2, 9\); fit the cont"
        with pytest.raises(InputError, match=message):
            spectra.subtract(make_continuum(np.ones((3, 9))))

    def test_taking_rows_takes_all_that_belongs_to_them(self):
        spectra = Spectra(
            WAVE,
            np.arange(27.0).reshape(3, 9),
            np.ones((3, 9)),
            medium="vacuum",
            redshift=0.01,
            n_spaxel=np.array([1, 2, 3]),
        )
        part = spectra.take(np.array([2, 0]))
        np.testing.assert_array_equal(part.flux, spectra.flux[[2, 0]])
        np.testing.assert_array_equal(part.n_spaxel, [3, 1])
        assert (part.medium, part.redshift) == ("vacuum", 0.01)


class TestTablesOfFits:
    def test_a_line_is_found_by_its_name(self):
        fit = _line_fit(("Hb4861", "Ha6563"))
        assert [fit.index(name) for name in fit.names] == [0, 1]

    def test_a_line_that_was_not_fitted_is_refused_and_the_fitted_are_named(self):
        with pytest.raises(InputError, match=r"OI6300 was not fitted; these were: Hb4861, Ha6563"):
            _line_fit(("Hb4861", "Ha6563")).index("OI6300")

    def test_templates_are_counted_by_their_spectra(self):
        one = np.ones(4)
        base = Templates(
            wave=WAVE,
            flux=np.ones((4, 9)),
            age=one,
            metallicity=one,
            mass_fraction=one,
            medium="air",
            fwhm=np.ones(9),
        )
        assert base.n_template == 4


@pytest.mark.parametrize("kind", [Sky, Cube, SnrMap, BinMap, Spectra, Templates, LineFit])
def test_containers_are_frozen(kind):
    assert kind.__dataclass_params__.frozen


def _line_fit(names):
    blank = dict.fromkeys((field.name for field in dataclasses.fields(LineFit)), np.zeros((1, 2)))
    return LineFit(**(blank | {"names": names}))


def test_a_container_prints_shapes_not_numbers():
    spectra = Spectra(np.arange(4.0) + 1, np.ones((3, 4)), np.ones((3, 4)))
    assert "flux=float64[3, 4]" in repr(spectra)
    assert len(repr(spectra)) < 600
