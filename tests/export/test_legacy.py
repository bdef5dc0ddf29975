"""``betis export legacy``: the notebooks of the BETIS scripts find and read what they expect."""

import numpy as np
import pytest
from astropy.io import fits
from tests.export.conftest import exported

from betis.export.legacy.field import _cubic_snr, norm_window
from betis.export.legacy.planes import fill_planes
from betis.io.products import read_snr
from betis.io.starlight.grid import parse_grid
from betis.linelist import load_line_set
from betis.products import LineFit
from betis.resampling import resample
from betis.starlight.axis import on_linear_axis

G = "NGC863"
MAPS = {
    0: ("NII6548", "NII_6548.05"),
    1: ("Ha6563", "Halpha_6562.77"),
    2: ("NII6583", "NII_6583.45"),
    9: ("Hb4861", "Hbeta_4861.33"),
    12: ("OIII5007", "OIII_5007"),
    19: ("HeI5876", "HeI_5875"),
    23: ("OI6300", "OI_6300"),
    26: ("SII6716", "SII_6716"),
    27: ("SII6731", "SII_6731"),
}


@pytest.fixture(scope="module")
def folder(files):
    return files["legacy"]


@pytest.fixture(scope="module")
def spaxel_folder(spaxel_run, tmp_path_factory):
    return exported(spaxel_run, "legacy", tmp_path_factory.mktemp("spx"), "--name", "G")


def lines_file(folder):
    return fits.open(folder / f"fit_outs/ALT_binned_nebular_specs_{G}_MUSE.binned.lines.fits")


def painted(labels, values):
    """Paint ``[1, label]`` on the spaxels of each label, as the notebook does."""
    image = np.zeros(labels.shape)
    for label in range(int(np.max(labels)) + 1):
        y, x = np.where(labels == label)
        image[y, x] = values[0, label]
    return image


@pytest.fixture(scope="module")
def labels(folder):
    return fits.getdata(folder / f"seg_maps/seg_adabin_SNSII_10_{G}.fits")


def test_the_cells_for_lines_and_velocities_give_the_maps_of_the_run(folder, labels, products):
    with lines_file(folder) as hdus:
        for plane, (name, theirs) in MAPS.items():
            line = products.lines.index(name)
            for number, kind, value in ((1, "flux", "flux"), (3, "vel", "velocity")):
                wanted = products.bins.paint(getattr(products.lines, value)[:, line])
                error = products.bins.paint(getattr(products.lines, f"{value}_err")[:, line])
                image, its_error = (painted(labels, hdus[number + i].data[plane]) for i in (0, 1))
                np.testing.assert_allclose(image, wanted, rtol=1e-12)
                np.testing.assert_allclose(its_error, error, rtol=1e-12)
                folder_of = {"flux": "line_maps", "vel": "vel_maps"}[kind]
                path = folder / folder_of / f"binned_{kind}_{G}_{theirs}.fits"
                with fits.open(path) as own:
                    np.testing.assert_allclose(own[0].data, image, rtol=1e-12)
                    np.testing.assert_allclose(own["errores"].data, its_error, rtol=1e-12)


def test_the_cell_for_equivalent_widths_gives_the_maps_of_the_run(folder, labels, products):
    name = f"binned_stellar_specs_{G}_MUSE.EWs.binned.fits"
    assert (folder / "fit_outs" / name).read_bytes() == (
        folder / "fit_outs" / f"ALT_{name}"
    ).read_bytes()
    with fits.open(folder / "fit_outs" / f"ALT_{name}") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FLUX", "EW", "DEW"]
        for plane, (line, theirs) in enumerate((("Ha6563", "Ha"), ("Hb4861", "Hb"))):
            wanted = products.bins.paint(products.lines.ew[:, products.lines.index(line)])
            image = painted(labels, hdus[2].data[plane])
            np.testing.assert_allclose(image, wanted, rtol=1e-12)
            with fits.open(folder / f"EW_maps/binned_EW_{theirs}_{G}.fits") as own:
                np.testing.assert_allclose(own[0].data, image, rtol=1e-12)
                np.testing.assert_allclose(
                    own["errores"].data, painted(labels, hdus[3].data[plane]), rtol=1e-12
                )


def test_the_line_file_is_laid_out_as_the_scripts_did(folder, products):
    n_label = products.bins.n_bin + 1
    with lines_file(folder) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == (
            ["FLUX", "EFLUX", "VEL", "EVEL", "LINEPARS", "ELINEPARS", "FLUXINT"]
        )
        depth = [hdu.data.shape[0] for hdu in hdus[1:]]
        assert depth == [41, 41, 41, 41, 123, 164, 41]
        assert all(hdu.data.shape[1:] == (1, n_label) for hdu in hdus[1:])
        assert all(np.isnan(hdu.data[:, 0, 0]).all() for hdu in hdus[1:])
        cards = [hdus["FLUX"].header[f"PLANE{i:02d}"] for i in range(1, 42)]
        assert (cards[0], cards[3], cards[40]) == ("[NII] 6548.05", "[OII] 3726.04", "Ha remnant")


def test_flux_and_velocity_follow_from_the_line_parameters(folder):
    with lines_file(folder) as hdus:
        flux, speed = hdus["FLUX"].data, hdus["VEL"].data
        amplitude, wave, sigma = (hdus["LINEPARS"].data[i::3] for i in range(3))
        known = np.isfinite(flux) & np.isfinite(sigma)
        assert known.any()
        np.testing.assert_allclose(
            np.sqrt(2 * np.pi) * (amplitude * sigma)[known], flux[known], rtol=1e-9
        )
        for plane, place in ((1, 6562.80), (9, 4861.33)):
            velocity = 299792.458 * (wave[plane] / place - 1)
            np.testing.assert_allclose(velocity, speed[plane], atol=1e-6)
        errors = [hdus["ELINEPARS"].data[i::4] for i in range(4)]
        np.testing.assert_allclose(
            errors[0][known] / np.abs(amplitude[known]),
            hdus["EFLUX"].data[known] / np.abs(flux[known]),
            rtol=1e-9,
        )
        np.testing.assert_allclose(errors[1] / wave * 299792.458, hdus["EVEL"].data, rtol=1e-2)
        assert (errors[3][1, 0, 1:] > 0).all()


def test_planes_of_lines_that_were_not_fitted_are_empty(folder, products):
    known = {
        line.plane for line in load_line_set("betis41").lines if line.name in products.lines.names
    }
    with lines_file(folder) as hdus:
        for plane in set(range(1, 42)) - known:
            assert np.isnan(hdus["FLUX"].data[plane - 1]).all()


def fit_of(line_set, n_bin=4, covariance=False):
    """Return a fit with a number of its own for each line and bin."""
    names, n_line = line_set.names, len(line_set.names)
    drawn = 1 + np.random.default_rng(4).random((14, n_bin, n_line))
    group = np.arange(n_line, dtype=np.int32)
    per_group = np.ones((n_bin, n_line))
    cov = None
    if covariance:
        cov = drawn[1][:, :, None] * drawn[1][:, None] * (0.5 + 0.5 * np.eye(n_line))
    fields = (
        "flux", "flux_err", "velocity", "velocity_err", "sigma", "sigma_err", "sigma_obs",
        "amplitude", "wave_obs", "ew", "ew_err", "flux_direct", "snr", "upper_limit",
    )  # fmt: skip
    return LineFit(
        names=names,
        **dict(zip(fields, drawn, strict=True)),
        flags=np.zeros((n_bin, n_line), np.int32),
        group=group,
        chi2=per_group,
        dof=per_group,
        bic=per_group,
        n_iter=np.ones((n_bin, n_line), np.int32),
        background=np.zeros((n_bin, n_line, 2)),
        background_wave=np.zeros(n_line),
        scatter=per_group,
        flux_cov=cov,
    )


@pytest.mark.parametrize("covariance", [False, True])
def test_all_41_planes_of_the_set_betis41_are_filled_and_doublets_are_sums(covariance):
    line_set = load_line_set("betis41")
    fit = fit_of(line_set, covariance=covariance)
    planes = fill_planes(fit, line_set, np.ones(fit.flux.shape), 2.0)
    assert planes.flux.shape == (4, 41)
    assert np.isfinite(planes.flux).all()
    assert planes.parameters.shape == (4, 123)
    assert planes.parameter_errors.shape == (4, 164)
    for plane, pair in ((4, ("OII3726", "OII3729")), (15, ("NI5198", "NI5200"))):
        two = [fit.index(name) for name in pair]
        np.testing.assert_allclose(planes.flux[:, plane - 1], 2 * fit.flux[:, two].sum(axis=1))
        np.testing.assert_allclose(
            planes.flux_direct[:, plane - 1], 2 * fit.flux_direct[:, two].sum(axis=1)
        )
        a, b = fit.flux_err[:, two].T
        shared = a * b if covariance else 0.0
        np.testing.assert_allclose(planes.flux_err[:, plane - 1], 2 * np.sqrt(a**2 + b**2 + shared))
        np.testing.assert_allclose(planes.velocity[:, plane - 1], fit.velocity[:, two[0]])
    for line in line_set.lines:
        if line.plane not in (4, 15):
            ours = fit.flux[:, fit.index(line.name)]
            np.testing.assert_allclose(planes.flux[:, line.plane - 1], 2 * ours)


def test_the_labels_the_table_and_the_grid_agree(folder, labels, products):
    np.testing.assert_array_equal(labels, products.bins.bin_id + 1)
    head, *rows = (folder / f"starlight/bin_{G}_SN_10.map").read_text().splitlines()
    assert head == "bin x y"
    table = np.array([row.split() for row in rows], dtype=int)
    assert len(table) == (labels > 0).sum()
    assert (labels[table[:, 1], table[:, 2]] == table[:, 0]).all()
    text = (folder / f"starlight/{G}_bin10.in").read_text()
    grid = parse_grid(text)
    assert int(text.split()[0]) == len(grid.fits) == labels.max()
    for label, fit in enumerate(grid.fits, start=1):
        assert (fit.spectrum, fit.output) == (f"{G}_bin_{label}.txt", f"{G}_bin_{label}.BN")
        assert (folder / "starlight" / grid.spectrum_dir / fit.spectrum).is_file()


def test_the_spectra_are_those_of_the_bins_in_erg(folder, products):
    wave, flux, error, flag = np.loadtxt(folder / f"starlight/spectra/{G}_bin_3.txt").T
    made = on_linear_axis(products.spectra.take(slice(2, 3)), 1.0, 1e-20)
    np.testing.assert_allclose(wave, made.wave)
    np.testing.assert_allclose(flux, made.flux[0], rtol=1e-7)
    np.testing.assert_allclose(error, made.error[0], rtol=1e-7)
    np.testing.assert_array_equal(flag, np.where(made.sky_window | ~made.good[0], 3, 0))
    assert 0 < (flag == 3).mean() < 0.5


def test_the_nebular_spectra_are_those_without_stars(folder, products):
    with fits.open(folder / f"fit_outs/ALT_binned_nebular_specs_{G}.fits") as hdus:
        head, flux, error = hdus[0].header, hdus[0].data, hdus["errores"].data
        assert flux.shape == error.shape == (head["NAXIS3"], 1, products.bins.n_bin + 1)
        assert (head["CRPIX3"], head["CDELT3"], head["CD3_3"]) == (1.0, 1.0, 1.0)
        assert np.isnan(flux[:, 0, 0]).all()
        for row in (0, products.bins.n_bin - 1):
            made = on_linear_axis(products.nebular(slice(row, row + 1))[0], 1.0, 1.0)
            assert head["CRVAL3"] == made.wave[0]
            good = made.good[0]
            np.testing.assert_allclose(flux[good, 0, row + 1], made.flux[0, good], rtol=1e-5)
            np.testing.assert_allclose(error[good, 0, row + 1], made.error[0, good], rtol=1e-5)


def test_the_resampled_cube_has_sigma_and_one_axis_in_all_its_cards(folder, mock_cube):
    from betis.export.resampled import _spectra
    from betis.io.readers import read_cube
    from betis.options import PrepareOptions
    from betis.preparation import prepare

    cube = prepare(read_cube(mock_cube), PrepareOptions(redshift=0.01))
    made = resample(_spectra(cube, cube.read()))
    with fits.open(folder / f"{G}.resam.fits") as hdus:
        head = hdus[0].header
        assert (head["CRPIX3"], head["CDELT3"], head["CD3_3"]) == (1.0, 1.0, 1.0)
        assert head["CRVAL3"] == made.wave[0]
        good = ~made.mask
        for number, wanted in enumerate((made.flux, made.error)):
            found = hdus[number].data.reshape(made.wave.size, -1).T
            np.testing.assert_allclose(found[good], wanted[good], rtol=1e-6)
            assert np.array_equal(np.isnan(found), made.mask)
        from astropy.wcs import WCS

        sky = WCS(fits.Header(dict(cube.sky.wcs)))
        found = WCS(head).celestial.all_pix2world(3, 5, 0)
        np.testing.assert_allclose(found, sky.all_pix2world(3, 5, 0), rtol=1e-9)


def test_the_maps_of_the_line_snr_are_those_of_the_run(folder, run_of_exports):
    measured = read_snr(run_of_exports / "snr.fits")
    for kind, values in (("SN", measured.snr), ("S", measured.signal), ("N", measured.noise)):
        with fits.open(folder / f"sn_maps/{G}_{kind}_SII_map.fits") as hdus:
            np.testing.assert_array_equal(hdus[0].data, values)
            assert hdus[0].header["SNRLINE"] == "SII6731"


def test_the_continuum_snr_is_the_inverse_of_the_scatter_about_a_cubic():
    rng, wave = np.random.default_rng(3), 5120.0 + np.arange(60)
    x = np.linspace(-1, 1, 60)
    truth = 100 + 10 * x - 5 * x**2 + 3 * x**3
    flux = truth + rng.normal(0, 5, (2000, 60))
    good = rng.random(flux.shape) > 0.1
    signal, snr = _cubic_snr(wave, flux, good)
    assert np.median(snr) == pytest.approx(20, rel=0.06)
    assert np.median(signal) == pytest.approx(truth.mean(), rel=0.01)
    expected = np.polyval(np.polyfit(x[good[0]], flux[0, good[0]], 3), x[good[0]])
    by_hand = 1 / np.std(flux[0, good[0]] / expected, ddof=1)
    assert snr[0] == pytest.approx(by_hand, rel=1e-9)
    good[1, 5:] = False
    assert np.isnan(_cubic_snr(wave, flux, good)[1][1])


def test_the_window_is_the_surveys_where_the_axis_has_it():
    wave = np.arange(4700.0, 7000.0)
    assert norm_window("MUSE", wave) == (5120.0, 5180.0)
    assert norm_window("MANGA", wave) == (5819.5, 5879.5)


def test_the_table_of_the_continuum_snr_has_a_row_a_spaxel(folder):
    with fits.open(folder / f"{G}_SN.fits") as hdus:
        snr = hdus[0].data
    rows = [line.split() for line in (folder / f"{G}.sn").read_text().splitlines()]
    assert len(rows) == np.isfinite(snr).sum()
    for i, j, signal, told, name in rows:
        assert name == f"{G}_{i}_{j}"
        if float(told):
            assert float(told) == pytest.approx(snr[int(i), int(j)], rel=1e-5)
            assert float(signal) > 0


def test_a_run_on_spaxels_has_the_layout_of_the_field(spaxel_folder, spaxel_run):
    from betis.finished import open_finished

    run = open_finished(spaxel_run)
    shape = run.bins.bin_id.shape
    with fits.open(spaxel_folder / "fit_outs/G.starsub_MUSE.lines.fits") as hdus:
        assert [hdu.name for hdu in hdus[8:]] == ["EW", "DEW"]
        assert hdus["FLUX"].data.shape == (41, *shape)
        assert hdus["ELINEPARS"].data.shape == (164, *shape)
        assert hdus["EW"].data.shape == (2, *shape)
        wanted = run.bins.paint(run.lines.flux[:, run.lines.index("Ha6563")])
        np.testing.assert_allclose(hdus["FLUX"].data[1], wanted, rtol=1e-12)
    rows = [line.split() for line in (spaxel_folder / "starlight/G_map").read_text().splitlines()]
    grid = parse_grid((spaxel_folder / "starlight/G.in").read_text())
    assert len(rows) == len(grid.fits) > 0
    for (i, j, name, snr), fit in zip(rows, grid.fits, strict=True):
        assert name == fit.spectrum == f"G_{i}_{j}.txt"
        assert float(snr) > 5
        assert (spaxel_folder / "starlight/spectra" / name).is_file()
    assert fit.output == f"G_{i}_{j}.C11.gm.CCM.BN"


def test_the_target_in_names_is_the_one_given(run_of_exports, tmp_path):
    path = exported(run_of_exports, "legacy", tmp_path, "--name", "G", "--target", "5")
    assert (path / "seg_maps/seg_adabin_SNSII_5_G.fits").is_file()
    assert (path / "starlight/G_bin5.in").is_file()
    assert (path / "starlight/bin_G_SN_5.map").is_file()
