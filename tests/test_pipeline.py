"""One command makes every product; what is still valid is kept; what is not is made again."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

import betis
from betis import pipeline
from betis.config import options_from, read_tables
from betis.io import products as files
from betis.io import row_products as row_files
from betis.io.templates import load_templates, save_templates
from betis.mock import MockOptions, compare, make_galaxy, read_truth, truth_path, write_cube

PRODUCTS = {
    "config.toml",
    "run.log",
    "provenance.json",
    "noise.fits",
    "snr.fits",
    "bins.fits",
    "spectra.fits",
    "continuum.fits",
    "lines.fits",
    "maps.fits",
    "derived.fits",
    "report.html",
}


class Recorder:
    """A listener that remembers which stages were made."""

    def __init__(self):
        self.made, self.kept, self.warned = [], [], []

    def begin(self, stage, total):
        pass

    def advance(self, count):
        pass

    def end(self, stage, _seconds, *, reused):
        (self.kept if reused else self.made).append(stage)

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture
def run_copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "galaxy")


def again(folder, **tables):
    listener = Recorder()
    pipeline.execute(pipeline.open_run(folder, None, tables, listener))
    return listener


def test_the_folder_holds_every_product(finished_run):
    assert {path.name for path in finished_run.iterdir()} == PRODUCTS


def test_the_products_have_the_extensions_of_the_data_model(finished_run):
    expected = {
        "snr.fits": {"SIGNAL", "NOISE", "SNR"},
        "bins.fits": {"BINID", "BINS"},
        "spectra.fits": {"FLUX", "ERROR", "MASK", "WAVE"},
        "continuum.fits": {"MODEL", "STELLAR", "WEIGHTS"},
        "lines.fits": {"LINES", "LINELIST"},
        "maps.fits": {"BINID", "FLUX", "STELLAR_VELOCITY", "STELLAR_SIGMA", "STELLAR_AV"},
    }
    for name, wanted in expected.items():
        with fits.open(finished_run / name, checksum=True) as hdus:
            assert wanted <= {hdu.name for hdu in hdus}, name


def test_each_bin_reaches_what_it_says_from_its_own_spaxels(finished_run):
    snr, bins = (
        files.read_snr(finished_run / "snr.fits"),
        files.read_bins(finished_run / "bins.fits"),
    )
    for row in range(bins.n_bin):
        own = bins.bin_id == row
        value = snr.signal[own].sum() / np.sqrt((snr.noise[own] ** 2).sum())
        assert value == pytest.approx(bins.snr[row])
        assert (value >= bins.target) == (bins.flags[row] == 0)


def test_the_sum_of_the_flux_map_is_the_sum_of_the_bins(finished_run):
    lines = row_files.read_lines(finished_run / "lines.fits")
    with fits.open(finished_run / "maps.fits") as hdus:
        total = np.nansum(hdus["FLUX"].data, axis=(1, 2))
    np.testing.assert_allclose(total, np.nansum(lines.flux, axis=0), rtol=1e-10)


def test_the_truth_is_found(finished_run, mock_cube):
    recovery = compare(
        read_truth(truth_path(mock_cube)),
        files.read_bins(finished_run / "bins.fits").bin_id,
        row_files.read_lines(finished_run / "lines.fits"),
        row_files.read_continuum(finished_run / "continuum.fits").table,
    )
    bright = recovery["Ha6563"]
    assert bright.n > 10
    assert abs(bright.flux_bias) < 0.02
    assert bright.velocity_pull_robust == pytest.approx(1.0, abs=0.35)
    assert abs(recovery.stars.velocity_bias) < 3.0


def test_a_second_run_makes_nothing_again(run_copy):
    before = {path.name: path.stat().st_mtime_ns for path in run_copy.glob("*.fits")}
    listener = again(run_copy)
    assert listener.made == ["prepare"]
    assert {path.name: path.stat().st_mtime_ns for path in run_copy.glob("*.fits")} == before


def test_what_is_kept_is_returned_as_if_it_were_made(run_copy):
    maps = betis.run(output=run_copy)
    assert isinstance(maps, betis.Maps)
    with fits.open(run_copy / "maps.fits") as hdus:
        assert list(maps) == [hdu.name for hdu in hdus[1:]]
        np.testing.assert_array_equal(maps["VELOCITY"], hdus["VELOCITY"].data)
    maps.write(run_copy / "again.fits", {"BETISKEY": "another"})
    difference = fits.FITSDiff(
        str(run_copy / "maps.fits"),
        str(run_copy / "again.fits"),
        ignore_keywords=["CHECKSUM", "BETISKEY"],
        ignore_comments=["DATASUM"],
    )
    assert difference.identical, difference.report()


def test_a_changed_option_remakes_what_it_touches_and_no_more(run_copy):
    listener = again(run_copy, binning={"target": 20.0})
    assert listener.kept == ["noise", "snr"]
    assert listener.made == [
        "prepare",
        "bin",
        "stack",
        "continuum",
        "lines",
        "maps",
        "derived",
        "report",
    ]
    assert options_from(_without_input(run_copy)).binning.target == 20.0


def test_the_window_of_the_lines_is_no_matter_of_the_stars(run_copy):
    listener = again(run_copy, lines={"detection": 5.0})
    assert listener.kept == ["noise", "snr", "bin", "stack", "continuum"]
    assert listener.made == ["prepare", "lines", "maps", "derived", "report"]


def test_a_lost_or_damaged_product_is_made_again_the_same(run_copy):
    first = files.read_bins(run_copy / "bins.fits").bin_id
    (run_copy / "bins.fits").write_bytes(b"SIMPLE  = nonsense")
    (run_copy / "maps.fits").unlink()
    listener = again(run_copy)
    assert {"bin", "maps"} <= set(listener.made)
    assert not {"snr", "continuum"} & set(listener.made)
    assert np.array_equal(files.read_bins(run_copy / "bins.fits").bin_id, first)


def test_the_provenance_names_what_went_in(finished_run, mock_cube):
    known = json.loads((finished_run / "provenance.json").read_text())
    assert known["input"]["path"] == str(mock_cube)
    assert len(known["input"]["blake2b"]) == 32
    assert {"numpy", "jax", "astropy"} <= set(known["versions"])
    assert set(known["stages"]) == PRODUCTS - {"config.toml", "run.log", "provenance.json"}


def test_the_report_holds_its_pictures(finished_run):
    page = (finished_run / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 8
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_python_face_does_the_same_step_by_step(finished_run, mock_cube):
    cube = betis.prepare(betis.read_cube(mock_cube), redshift=0.01)
    snr = betis.line_snr(cube, "SII6731")
    bins = betis.quadtree(snr.signal, snr.noise, target=10.0)
    spectra = betis.stack(cube, bins)
    fit = betis.fit_continuum(spectra)
    lines = betis.fit_lines(spectra.subtract(fit), continuum=fit)
    maps = betis.make_maps(bins, lines, fit)
    with fits.open(finished_run / "maps.fits") as hdus:
        np.testing.assert_allclose(maps["FLUX"], hdus["FLUX"].data, rtol=1e-8, equal_nan=True)


@pytest.mark.parametrize(("width", "warns"), [(0.0, False), (1.0, True)])
def test_correlated_noise_is_seen_in_the_residuals_of_large_bins(tmp_path, width, warns):
    options = MockOptions(
        n_y=24, n_x=24, wave_max=7000.0, noise_correlation=width, line_brightness=0.2, seed=5
    )
    write_cube(make_galaxy(options), tmp_path / "cube.fits")
    listener = Recorder()
    tables = {"prepare": {"redshift": options.redshift}, "binning": {"target": 15.0}}
    run = pipeline.open_run(tmp_path / "run", tmp_path / "cube.fits", tables, listener)
    pipeline.execute(run, "continuum")
    assert (run.obtain("bin").n_spaxel >= 10).sum() >= 3
    assert any("--correlation" in text for text in listener.warned) == warns


def test_a_base_broader_than_the_data_is_said(mock_cube, tmp_path):
    base = load_templates("bpass")
    save_templates(tmp_path / "broad.npz", replace(base, fwhm=np.full_like(base.fwhm, 6.0)))
    listener = Recorder()
    tables = {
        "prepare": {"redshift": 0.01},
        "continuum": {"templates": str(tmp_path / "broad.npz")},
    }
    run = pipeline.open_run(tmp_path / "run", mock_cube, tables, listener)
    pipeline.execute(run, "continuum")
    assert any("broader than the data at 100 % of the pixels" in text for text in listener.warned)


def test_spaxel_by_spaxel_without_stars(mock_cube, tmp_path):
    maps = betis.run(mock_cube, redshift=0.01, output=tmp_path, binning="spaxel", continuum="none")
    bins = maps["BINID"]
    assert np.unique(bins[bins >= 0]).size == (bins >= 0).sum()
    assert np.isnan(maps["STELLAR_VELOCITY"]).all() if "STELLAR_VELOCITY" in maps else True
    assert np.isfinite(maps.line("FLUX", "Ha6563")[bins >= 0]).all()


def test_an_unknown_keyword_is_refused(mock_cube, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword 'redshfit'"):
        betis.run(mock_cube, redshfit=0.01, output=tmp_path)


def _without_input(folder):
    tables = read_tables(folder / "config.toml")
    tables.pop("input")
    return tables


def test_errors_that_cannot_be_what_they_were_read_as_are_told(mock_cube, tmp_path):
    path = shutil.copy(mock_cube, tmp_path / "cube.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["STAT"].data *= 100.0
    told = Recorder()
    tables = {"prepare": {"redshift": 0.01}}
    pipeline.execute(pipeline.open_run(tmp_path / "run", path, tables, told), "noise")
    assert any("scatter by 0.10" in text and "read as variance" in text for text in told.warned)
