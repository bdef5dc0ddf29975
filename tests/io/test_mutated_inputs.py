"""A file that is not as it should be is read rightly or refused in one sentence; never half."""

import bz2
import gzip
import os
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import CompImageHDU, ImageHDU, PrimaryHDU
from tests.cubes import WAVE, WCS, line, write_muse_file

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


def voxels(flux=FLUX, variance=VARIANCE, *more):
    return lambda path: write(path, flux, variance, *more)


def variance_of(value):
    return voxels(FLUX, np.full_like(VARIANCE, value))


def kind(name, **changed):
    """Change cards of one extension only."""
    parts = {"DATA": FLUX, "STAT": VARIANCE}
    images = {key: ImageHDU(value, header(), name=key) for key, value in parts.items()}
    images[name].header.update(changed)
    return lambda path: write(path, *(image.copy() for image in images.values()))


def bytes_of(path):
    write(path, FLUX, VARIANCE)
    return path.read_bytes()


def cut(n_byte):
    return lambda path: path.write_bytes(bytes_of(path)[:n_byte])


def packed(pack):
    return lambda path: path.write_bytes(pack(bytes_of(path)))


def zipped(path):
    content = bytes_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cube.fits", content)


def poked(old, new):
    """Overwrite the first such card of the extension DATA with what may be no FITS at all."""

    def mutate(path):
        content = bytes_of(path)
        place = content.index(old, 2880)
        path.write_bytes(content[:place] + new.ljust(80) + content[place + 80 :])

    return mutate


def scaled(path):
    stored = ImageHDU(np.round((FLUX - 50) / 0.001).astype(np.int32), header(), name="DATA")
    stored.header.update({"BSCALE": 0.001, "BZERO": 50.0})
    write(path, stored, VARIANCE)


def compressed(path):
    parts = {"DATA": FLUX, "STAT": VARIANCE}
    write(
        path,
        *(
            CompImageHDU(value, header(), name=name, compression_type="GZIP_2", quantize_level=0)
            for name, value in parts.items()
        ),
    )


def named_primary(path):
    primary = PrimaryHDU(FLUX, header())
    primary.name = "DATA"
    fits.HDUList([primary, ImageHDU(VARIANCE, name="STAT")]).writeto(path)


READ = {
    "no CTYPE3": cards(CTYPE3=None),
    "no CUNIT3": cards(CUNIT3=None),
    "blank CUNIT3": cards(CUNIT3=""),
    "no CRPIX3": cards(CRPIX3=None),
    "CTYPE3 is LINEAR": cards(CTYPE3="LINEAR"),
    "nanometres": cards(CRVAL3=640.0, CD3_3=0.125, CUNIT3="nm"),
    "metres": cards(CRVAL3=6.4e-7, CD3_3=1.25e-10, CUNIT3="m"),
    "CDELT3 beside CD3_3": cards(CDELT3=1.0),
    "CDELT3 for CD3_3": cards(CD3_3=None, CDELT3=1.25),
    "PC3_3 and CDELT3": cards(CD3_3=None, CDELT3=1.25, PC3_3=1.0),
    "no BUNIT": cards(BUNIT=None),
    "no celestial WCS": cards(**dict.fromkeys(WCS)),
    "no INSTRUME": lambda path: write(path, FLUX, VARIANCE, instrument=""),
    "scaled integers": scaled,
    "doubles": voxels(FLUX.astype(float), VARIANCE.astype(float)),
    "good DQ": voxels(FLUX, VARIANCE, np.zeros(SHAPE, np.int32)),
    "long DQ": voxels(FLUX, VARIANCE, np.zeros(SHAPE, np.int64)),
    "unsigned DQ": voxels(FLUX, VARIANCE, np.zeros(SHAPE, np.uint32)),
    "DATA in the primary": named_primary,
    "tiles compressed": compressed,
    "gzip": packed(lambda content: gzip.compress(content, 1)),
    "bzip2": packed(lambda content: bz2.compress(content, 1)),
    "zip": zipped,
    "bytes after the end": packed(lambda content: content + b"junk" * 999),
}

REFUSED = {
    "no CRVAL3": (cards(CRVAL3=None), "no card CRVAL3"),
    "no CD3_3": (cards(CD3_3=None), "neither CD3_3 nor CDELT3"),
    "CRVAL3 is text": (cards(CRVAL3="abc"), "CRVAL3 is 'abc'"),
    "CRVAL3 is no FITS": (poked(b"CRVAL3  =", b"CRVAL3  = 64oo"), "card that is not FITS"),
    "CRVAL3 is NaN": (poked(b"CRVAL3  =", b"CRVAL3  = NaN"), "card that is not FITS"),
    "CRVAL3 is undefined": (poked(b"CRVAL3  =", b"CRVAL3  ="), "a number is needed"),
    "CRVAL3 is 0": (cards(CRVAL3=0.0), "a MUSE cube lies within 3000 to 11000 A"),
    "nanometres unsaid": (cards(CRVAL3=640.0, CD3_3=0.125), "check CRVAL3"),
    "huge step": (cards(CD3_3=1e4), "check CRVAL3"),
    "step 0": (cards(CD3_3=0.0), "step in the header is 0.0"),
    "step < 0": (cards(CD3_3=-1.25), "step in the header is -1.25"),
    "CRPIX3 is text": (cards(CRPIX3="one"), "CRPIX3 is 'one'"),
    "frequency": (cards(CTYPE3="FREQ"), "CTYPE3 is 'FREQ'"),
    "velocity": (cards(CTYPE3="VELO-LSR"), "CTYPE3 is 'VELO-LSR'"),
    "grism": (cards(CTYPE3="AWAV-GRI"), "CTYPE3 is 'AWAV-GRI'"),
    "transposed": (cards(CTYPE1="AWAV", CTYPE3="RA---TAN"), "CTYPE3 is 'RA---TAN'"),
    "CUNIT3 is Hz": (cards(CUNIT3="Hz"), "'Hz'"),
    "CUNIT3 is a number": (cards(CUNIT3=5), "'5'"),
    "per Hz": (cards(BUNIT="10**(-20)*erg/s/cm**2/Hz"), "per unit of frequency"),
    "BUNIT of a variance": (cards(BUNIT="(1e-20 erg/s/cm2/Angstrom)**2"), "unit of a variance"),
    "no CTYPE1": (cards(CTYPE1=None), "celestial WCS makes no sense"),
    "no CRVAL1": (cards(CRVAL1=None), "CRVAL1 is None"),
    "CRVAL1 is text": (cards(CRVAL1="north"), "CRVAL1 is 'north'"),
    "declination 999": (cards(CRVAL2=999.0), "celestial WCS makes no sense"),
    "unknown projection": (cards(CTYPE1="RA---XYZ"), "celestial WCS makes no sense"),
    "singular CD": (cards(CD1_1=0.0), "celestial WCS makes no sense"),
    "a spaxel of 30 degrees": (cards(CD1_1=30.0, CD2_2=30.0), "area of 900 square degrees"),
    "furlongs": (cards(CUNIT1="furlong"), "celestial WCS makes no sense"),
    "sky mixed with wavelengths": (cards(CD1_3=0.5), "CD1_3 is 0.5"),
    "STAT is 0": (variance_of(0), "no spaxel has usable data"),
    "STAT is NaN": (variance_of(np.nan), "no spaxel has usable data"),
    "STAT < 0": (variance_of(-1), "no spaxel has usable data"),
    "STAT is infinite": (variance_of(np.inf), "no spaxel has usable data"),
    "STAT holds errors": (kind("STAT", HDUCLAS3="RMSE"), "holds RMSE"),
    "swapped, said": (kind("DATA", HDUCLAS2="ERROR"), "not swapped"),
    "swapped, unsaid": (voxels(VARIANCE, FLUX), "no bin reaches S/N"),
    "DATA is NaN": (voxels(FLUX * np.nan), "no spaxel has usable data"),
    "all bad in DQ": (voxels(FLUX, VARIANCE, np.ones(SHAPE, np.int16)), "no spaxel has usable"),
    "short DQ": (voxels(FLUX, VARIANCE, np.zeros((9, 4, 4), np.int16)), "DQ (9, 4, 4)"),
    "flat DQ": (voxels(FLUX, VARIANCE, np.zeros((4, 4), np.int16)), "DQ has 2 axes"),
    "flat STAT": (voxels(FLUX, VARIANCE[0]), "STAT has 2 axes"),
    "4-D": (voxels(FLUX[None], VARIANCE[None]), "holds no 3-D image"),
    "no spaxel": (voxels(FLUX[:, :, :0], VARIANCE[:, :, :0]), "400 wavelengths of 0 x 4"),
    "1 wavelength": (voxels(FLUX[:1], VARIANCE[:1]), "has 1 wavelengths"),
    "3 wavelengths": (voxels(FLUX[:3], VARIANCE[:3]), "outside this cube"),
    "wide pixels": (
        lambda path: write_muse_file(path, FLUX[:90], VARIANCE[:90], 4600 + 50.0 * np.arange(90)),
        "wavelengths within 40 A",
    ),
    "two DATA": (
        lambda path: write(path, *(ImageHDU(FLUX, header(), name="DATA") for _ in range(2))),
        "has 2 extensions DATA",
    ),
    "another instrument": (
        lambda path: write(path, FLUX, VARIANCE, instrument="KCWI"),
        "no reader knows its layout",
    ),
    "in the primary": (lambda path: PrimaryHDU(FLUX, header()).writeto(path), "no reader knows"),
    "NAXIS without sizes": (poked(b"NAXIS   =", b"NAXIS   = 4"), "damaged header"),
    "NAXIS1 is text": (poked(b"NAXIS1  =", b"NAXIS1  = 'x'"), "damaged header"),
    "NAXIS3 is huge": (poked(b"NAXIS3  =", b"NAXIS3  = 40000000"), "is cut short"),
    "BITPIX is 7": (poked(b"BITPIX  =", b"BITPIX  = 7"), "BITPIX = 7"),
    "empty": (cut(0), "cannot be read as a FITS file"),
    "cut in a header": (cut(3500), "the file may be cut short"),
    "cut in DATA": (cut(15000), "is cut short: its extension DATA"),
    "cut in STAT": (cut(-3000), "is cut short: its extension STAT"),
    "gzip, damaged": (packed(lambda content: gzip.compress(content)[:9000]), "cut short"),
    "random": (packed(lambda content: content[::-1]), "cannot be read as a FITS file"),
}


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


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read_as_if_nothing_were_wrong(name, signal, tmp_path, capsys):
    path = mutated(READ[name], tmp_path / "cube.fits")
    status, said = said_by(["inspect", path, "-z", REDSHIFT], capsys)
    assert (status, said.err) == (0, "")
    assert "SII6731" in said.out
    np.testing.assert_allclose(measured(path), signal, rtol=2e-3 if name[:6] == "scaled" else 1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_sentence(name, tmp_path, capsys):
    mutate, sentence = REFUSED[name]
    path = mutated(mutate, tmp_path / "cube.fits")
    folder = tmp_path / "out"
    status, said = said_by(["prepare", path, "-z", REDSHIFT, "-o", folder], capsys)
    opened = status == 0
    if opened:
        status, said = said_by(["bin", folder], capsys)
    assert status == 2
    assert said.err.startswith("betis: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err
    assert not (folder / "bins.fits").exists()
    status, said = said_by(["inspect", path, "-z", REDSHIFT], capsys)
    assert status == (0 if opened else 2)
    assert opened or sentence in said.err


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
