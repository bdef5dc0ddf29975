"""Cubes of odd units and sizes, files that are none, and what reaches the terminal."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import ImageHDU, PrimaryHDU
from tests.cubes import WAVE, WCS, line

import betis
from betis.cli import main
from betis.errors import InputError
from betis.io.wcs import celestial_wcs

REDSHIFT = 0.01
SHAPE = (WAVE.size, 4, 4)


def galaxy_voxels():
    lines = ((6562.80, 300.0), (6583.45, 100.0), (6716.44, 60.0), (6730.82, 50.0))
    spectrum = 20 + 3 * sum(line(WAVE, air, flux, redshift=REDSHIFT) for air, flux in lines)
    noise = np.random.default_rng(0).normal(0, 1, SHAPE)
    bright = np.linspace(0.5, 1.5, SHAPE[1])[:, None]
    flux = (spectrum[:, None, None] * bright + noise).astype(np.float32)
    return flux, np.ones(SHAPE, np.float32)


FLUX, VARIANCE = galaxy_voxels()


def header(**cards):
    axis = {"CRVAL3": WAVE[0], "CRPIX3": 1.0, "CD3_3": 1.25, "CTYPE3": "AWAV"}
    plain = fits.Header({**WCS, **axis, "CUNIT3": "Angstrom"})
    plain["BUNIT"] = "10**(-20)*erg/s/cm**2/Angstrom"
    plain.update(cards)
    return plain


def write(path, *extensions, instrument="MUSE"):
    """A file of these extensions; an array is that of the next of DATA, STAT, DQ."""
    primary = PrimaryHDU()
    if instrument:
        primary.header["INSTRUME"] = instrument
    hdus = [
        ImageHDU(item, header(), name=name) if isinstance(item, np.ndarray) else item
        for name, item in zip(("DATA", "STAT", "DQ"), extensions, strict=False)
    ]
    fits.HDUList([primary, *hdus]).writeto(path)


def cards(**changed):
    """Change cards of DATA and STAT; None takes one out."""

    def mutate(path):
        write(path, FLUX, VARIANCE)
        with fits.open(path, mode="update") as hdus:
            for hdu in hdus[1:]:
                for card, value in changed.items():
                    hdu.header[card] = value
                    if value is None:
                        del hdu.header[card]

    return mutate


def mutated(mutate, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mutate(path)
    return path


def said_by(arguments, capsys):
    """Run the command line; return its status and what it says."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return status, said


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    """Signal of the cube that is as it should be, and its noise."""
    folder = tmp_path_factory.mktemp("plain")
    write(folder / "cube.fits", FLUX, VARIANCE)
    return measured(folder / "cube.fits")


def measured(path):
    cube = betis.prepare(betis.read_cube(path), redshift=REDSHIFT)
    snr = betis.line_snr(cube, "SII6731")
    return np.array([snr.signal, snr.noise])


@pytest.mark.parametrize("scale", [1e-20, 1e-10, 1e10, 1e17])
def test_the_unit_of_the_flux_changes_nothing(scale, signal, tmp_path):
    path = tmp_path / "cube.fits"
    unit = {"BUNIT": f"10**({-20 - round(np.log10(scale))})*erg/s/cm**2/Angstrom"}
    flux = ImageHDU(FLUX.astype(float) * scale, header(**unit), name="DATA")
    write(path, flux, VARIANCE.astype(float) * scale**2)
    np.testing.assert_allclose(measured(path) / scale, signal, rtol=1e-6)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(None)])
@pytest.mark.parametrize("columns", [slice(0, 1), slice(None)])
def test_a_field_of_a_single_row_column_or_spaxel_is_measured(rows, columns, tmp_path, capsys):
    flux, variance = FLUX[:, rows, columns], VARIANCE[:, rows, columns]
    write(tmp_path / "cube.fits", flux, variance)
    assert measured(tmp_path / "cube.fits").shape == (2, *flux.shape[1:])
    assert np.isfinite(measured(tmp_path / "cube.fits")).all()
    _, said = said_by(["inspect", tmp_path / "cube.fits"], capsys)
    assert f"{flux.shape[2]} x {flux.shape[1]} spaxels" in said.out


def test_voxels_that_dq_or_blank_mark_are_bad(tmp_path):
    marked = np.zeros(SHAPE, np.int32)
    marked[7, 2, 3] = 1 << 20
    write(tmp_path / "dq.fits", FLUX, VARIANCE, marked)
    stored = ImageHDU(np.where(marked, -99, FLUX).astype(np.int16), header(), name="DATA")
    stored.header["BLANK"] = -99
    write(tmp_path / "blank.fits", stored, VARIANCE)
    for name in ("dq.fits", "blank.fits"):
        block = betis.read_cube(tmp_path / name).read()
        assert np.argwhere(block.mask).tolist() == [[7, 2, 3]]


@pytest.mark.parametrize(
    ("unit", "scale"),
    [
        ("erg/s/cm**2/Angstrom", 1.0),
        ("10**(-20)*(erg/s/cm**2/Angstrom)", 1e-20),
        ("1E-17 erg s^-1 cm^-2 Angstrom^-1", 1e-17),
        ("1e-20 W/m^2/um", 1e-21),
        ("10**(-20)*erg/s/cm**2/arcsec**2/Angstrom", 0.0),
        ("3e-17 erg/s/cm2/Angstrom", 0.0),
        ("10**(400)*erg/s/cm**2/Angstrom", 0.0),
        ("10**(-20", 0.0),
        ("counts", 0.0),
        ("banana", 0.0),
    ],
)
def test_the_unit_is_understood_or_left_unknown(unit, scale, tmp_path, capsys):
    mutated(cards(BUNIT=unit), tmp_path / "cube.fits")
    assert betis.read_cube(tmp_path / "cube.fits").sky.flux_scale == pytest.approx(scale)
    _, said = said_by(["inspect", tmp_path / "cube.fits"], capsys)
    assert ("unknown (BUNIT" in said.out) == (scale == 0)


def test_declination_before_right_ascension_stays_so(tmp_path):
    swapped = {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": 2.0, "CRVAL2": 150.0}
    cards(**swapped)(tmp_path / "cube.fits")
    kept = celestial_wcs(betis.read_cube(tmp_path / "cube.fits").sky.wcs)
    center = kept.pixel_to_world(WCS["CRPIX1"] - 1, WCS["CRPIX2"] - 1)
    assert (center.ra.deg, center.dec.deg) == pytest.approx((150.0, 2.0))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    wrong = {"pipe": "a device or a pipe", ".": "is a folder", "loop": "symbolic links"}
    for name, sentence in {**wrong, "x" * 999: "File name too long"}.items():
        with pytest.raises(InputError, match=sentence):
            betis.read_cube(tmp_path / name)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "cube.fits", FLUX, VARIANCE)
    monkeypatch.setattr(fits, "open", forbidden)
    with pytest.raises(InputError, match="Permission denied"):
        betis.read_cube(tmp_path / "cube.fits")


def test_nothing_but_the_sentence_reaches_the_terminal(tmp_path):
    cards(CTYPE1="RA---XYZ", BUNIT="banana")(tmp_path / "a cube 星系.fits")
    command = [sys.executable, "-m", "betis.cli", "inspect", str(tmp_path / "a cube 星系.fits")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("betis: ")
    assert done.stderr.count("\n") == 1
