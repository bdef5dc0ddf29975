"""The stage ``bin`` of a run: every way to bin, and what it measures and says."""

import numpy as np
import pytest
from astropy.io import fits

import betis
from betis import pipeline
from betis.cli import main
from betis.flags import Flag
from betis.linelist import load_line_set
from betis.runner import Silent
from betis.spatial_noise import measure_correlation


class Told(Silent):
    """A listener that remembers what it was warned of."""

    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture
def binned(mock_cube, tmp_path):
    """Bin the mock cube with some options, up to bins.fits."""

    def run(**tables):
        told = Told()
        tables["prepare"] = {"redshift": 0.01, **tables.get("prepare", {})}
        galaxy = pipeline.open_run(tmp_path / "run", mock_cube, tables, told)
        pipeline.execute(galaxy, "bin")
        return galaxy.obtain("bin"), told.warned

    return run


def table(tmp_path):
    return fits.getdata(tmp_path / "run" / "bins.fits", "BINS")


@pytest.mark.parametrize("method", ["quadtree", "voronoi", "spaxel", "regions"])
def test_what_is_measured_on_the_spectra_is_what_was_predicted(method, binned, tmp_path):
    bins, _ = binned(binning={"method": method})
    good = bins.flags == 0
    assert good.sum() > 3
    assert bins.promise == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(table(tmp_path)["snr_measured"], bins.snr_measured)


@pytest.mark.parametrize(
    "line", ["SII6716+SII6731", "min(Ha6563,SII6731)", "continuum:6100-6200", "OIII5007"]
)
def test_the_bins_of_any_line_or_set_keep_their_promise(line, binned):
    bins, _ = binned(snr={"line": line})
    good = bins.flags == 0
    assert good.any()
    assert bins.promise == pytest.approx(1.0, abs=0.05)


def test_strict_bins_have_the_target_as_measured(binned):
    bins, _ = binned(binning={"strict": True}, snr={"noise": "scatter"})
    good = bins.flags == 0
    assert good.any()
    assert np.all(bins.snr_measured[good] >= bins.target)


def test_the_correlation_is_measured_where_that_is_asked_for(binned, mock_cube):
    bins, _ = binned(binning={"correlation": "measured"})
    cube = betis.prepare(betis.read_cube(mock_cube), 0.01)
    alpha = measure_correlation(cube, load_line_set().waves("air", 0.01))
    assert bins.correlation == pytest.approx(max(alpha, 0.0))
    assert bins.noise_model


def test_regions_are_told_apart_from_the_field_round_them(binned, tmp_path):
    bins, _ = binned(binning={"method": "regions"}, regions={"diffuse": "voronoi"})
    np.testing.assert_array_equal(table(tmp_path)["region"], bins.is_region)
    assert not bins.is_region.all()


def segmentation(tmp_path, labels):
    path = tmp_path / "labels.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(labels, name="SEG")]).writeto(path)
    return f"{path}[SEG]"


def test_a_field_without_a_region_is_told(binned):
    bins, warned = binned(binning={"method": "regions"}, regions={"peak_snr": 1e5})
    assert not bins.is_region.any()
    assert any("no H II region was found on the map of Ha6563" in text for text in warned)


def test_a_segmentation_is_the_bins_or_the_regions(binned, tmp_path):
    labels = np.zeros((12, 12), np.int16)
    labels[3:6, 3:6], labels[7:9, 7:10] = 4, 9
    text = segmentation(tmp_path, labels)
    alone, _ = binned(binning={"method": text})
    assert alone.n_bin == 2
    np.testing.assert_array_equal(alone.bin_id >= 0, labels > 0)
    both, _ = binned(binning={"method": "regions"}, regions={"map": text})
    assert both.is_region.sum() == 2
    assert both.n_bin > 2
    np.testing.assert_array_equal(both.bin_id[labels > 0], alone.bin_id[labels > 0])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.ones((5, 7)), "(5, 7)"),
        (np.full((12, 12), 1.5), "1.5"),
        (np.full((12, 12), -3), "there is no bin"),
    ],
    ids=["shape", "fraction", "negative"],
)
def test_labels_that_are_none_are_one_sentence(labels, sentence, mock_cube, tmp_path, capsys):
    text = segmentation(tmp_path, labels)
    status = main(
        ["run", str(mock_cube), "-z", "0.01", "--binning", text, "-o", str(tmp_path / "run")]
    )
    said = capsys.readouterr().err.strip()
    assert status == 2
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_the_labels_are_read_again_when_they_change(binned, tmp_path):
    labels = np.ones((12, 12), np.int16)
    text = segmentation(tmp_path, labels)
    assert binned(binning={"method": text})[0].n_bin == 1
    with fits.open(tmp_path / "labels.fits", mode="update") as hdus:
        hdus["SEG"].data[:6] = 2
    assert binned(binning={"method": text})[0].n_bin == 2


def test_a_field_without_the_line_is_refused_or_told(binned):
    bins, warned = binned(binning={"target": 60.0})
    assert np.any(bins.flags & Flag.LOW_SNR)
    assert any("are in bins below S/N 60" in text for text in warned)
