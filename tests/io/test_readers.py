"""Which reader takes a file: by its content, by name, by description, or somebody else's."""

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from tests.io.small_cubes import SAMPLES, Voxels, bare, muse, primary, sami

import betis
from betis.config import cube_layout
from betis.errors import ConfigError, InputError
from betis.io import readers
from betis.io.readers import read_cube, recognise
from betis.options import CubeOptions

GENERIC_TOML = """
[cube]
flux = "SCI"
error = "ERR"
error_kind = "sigma"
mask = "QUALITY"
mask_bits = 6
fwhm = 2.5
"""


class Hobby:
    """A reader of another package: of muse's layout with another INSTRUME."""

    NAME = "hobby"

    def recognise(self, hdus):
        return "it is dear to us" if hdus[0].header.get("INSTRUME") == "HOBBY" else ""

    def read(self, path, hdus):
        return readers.muse.read(path, hdus)


@pytest.fixture
def hobby_cube(tmp_path):
    hdus = muse(Voxels.drawn())
    hdus[0].header["INSTRUME"] = "HOBBY"
    fits.HDUList(hdus).writeto(tmp_path / "cube.fits")
    return tmp_path / "cube.fits"


@pytest.fixture
def register(monkeypatch):
    """Register objects of a fake module as entry points."""

    def register(*names, **objects):
        monkeypatch.setitem(sys.modules, "somebody", SimpleNamespace(**objects))
        points = [EntryPoint(name, f"somebody:{name}", readers.GROUP) for name in names]
        monkeypatch.setattr(readers, "entry_points", lambda **_: points)

    return register


def test_a_reader_of_another_package_is_found_and_may_be_forced(register, hobby_cube):
    register("hobby", hobby=Hobby())
    with fits.open(hobby_cube) as hdus:
        assert recognise(hobby_cube, hdus) == ("hobby", "it is dear to us")
    assert read_cube(hobby_cube).shape == read_cube(hobby_cube, "hobby").shape


def test_a_reader_that_cannot_be_imported_matters_only_when_it_is_needed(register, hobby_cube):
    register("hobby")
    sentence = r"the reader 'hobby' \(somebody:hobby\) cannot be loaded: AttributeError"
    with pytest.raises(InputError, match=sentence):
        read_cube(hobby_cube)
    with pytest.raises(InputError, match=sentence):
        read_cube(hobby_cube, "hobby")
    fits.setval(hobby_cube, "INSTRUME", value="MUSE")
    assert read_cube(hobby_cube).instrument == "muse"
    assert read_cube(hobby_cube, "muse").instrument == "muse"


@pytest.mark.parametrize(
    "thing", [Hobby, SimpleNamespace(NAME="hobby", recognise="yes", read=print)]
)
def test_what_is_no_reader_is_named(thing, register, hobby_cube):
    register("hobby", hobby=thing)
    with pytest.raises(InputError, match=r"'hobby' .* does not offer NAME, recognise and read"):
        read_cube(hobby_cube, "hobby")


def test_two_readers_of_one_file_are_a_question_for_the_user(register, hobby_cube):
    eager = Hobby()
    eager.recognise = lambda _: "it is a file"
    register("eager", eager=eager)
    fits.setval(hobby_cube, "INSTRUME", value="MUSE")
    sentence = r"two readers, muse \(INSTRUME is MUSE\) and hobby .* choose one with --instrument"
    with pytest.raises(InputError, match=sentence):
        read_cube(hobby_cube)
    assert read_cube(hobby_cube, "muse").instrument == "muse"


def test_an_unknown_layout_and_an_unknown_name_say_what_is_known(register, hobby_cube):
    register("lonely", lonely=Hobby())
    known = "muse, manga, califa, sami, kcwi, lonely"
    fits.setval(hobby_cube, "INSTRUME", value="HUBBLE")
    with pytest.raises(InputError, match=rf"no reader knows its layout; .* are {known}"):
        read_cube(hobby_cube)
    with pytest.raises(InputError, match=rf"no reader 'hubble'; expected one of {known}"):
        read_cube(hobby_cube, "hubble")


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "generic"])
def test_each_file_is_of_one_reader_only(name, tmp_path):
    path = SAMPLES[name].write(tmp_path / "cube.fits", Voxels.drawn())
    with fits.open(path) as hdus:
        knowing = [reader.NAME for reader in readers.READERS if reader.recognise(hdus)]
    assert knowing == [SAMPLES[name].reader]


@pytest.mark.parametrize("layout", [None, CubeOptions()])
def test_a_generic_cube_needs_its_description(layout, tmp_path):
    path = SAMPLES["generic"].write(tmp_path / "cube.fits", Voxels.drawn())
    with pytest.raises(ConfigError, match=r"no layout is described: write a table \[cube\]"):
        read_cube(path, "generic", layout=layout)
    with pytest.raises(InputError, match="no reader knows its layout"):
        read_cube(path, layout=layout)


def test_a_toml_file_describes_a_cube(tmp_path):
    path = SAMPLES["generic"].write(tmp_path / "cube.fits", Voxels.drawn())
    (tmp_path / "mine.toml").write_text(GENERIC_TOML)
    cube = betis.read_cube(path, tmp_path / "mine.toml")
    assert (cube.instrument, cube.lsf[0]) == ("generic", 2.5)
    assert cube_layout("muse", CubeOptions()) == ("muse", CubeOptions())


def test_a_toml_file_that_describes_no_cube_is_refused(tmp_path):
    path = SAMPLES["generic"].write(tmp_path / "cube.fits", Voxels.drawn())
    (tmp_path / "mine.toml").write_text("[prepare]\nredshift = 0.1\n")
    with pytest.raises(ConfigError, match=r"has no table \[cube\]"):
        betis.read_cube(path, tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text("[cube]\nflx = 'SCI'\n")
    with pytest.raises(ConfigError, match=r"option 'flx' of \[cube\] is unknown"):
        betis.read_cube(path, tmp_path / "mine.toml")
    with pytest.raises(InputError, match="there is no configuration file"):
        betis.read_cube(path, tmp_path / "none.toml")


def test_two_arms_are_read_as_one_cube(tmp_path):
    blue = SAMPLES["sami"].write(tmp_path / "blue.fits", Voxels.drawn(1), CRVAL3=5000.0)
    red = SAMPLES["sami"].write(tmp_path / "red.fits", Voxels.drawn(2))
    cube = betis.read_cube(blue, arm=red)
    assert cube.shape[0] == 120
    assert cube.mask.any(axis=(1, 2)).nonzero()[0].tolist() == [59, 60]
    part = cube.read(slice(1, 2), slice(50, 70))
    np.testing.assert_array_equal(part.flux, cube.read().flux[50:70, 1:2])
    other = SAMPLES["muse"].write(tmp_path / "muse.fits", Voxels.drawn())
    with pytest.raises(InputError, match="different instruments"):
        betis.read_cube(blue, arm=other)


def test_row_stacked_spectra_of_califa_are_refused(tmp_path):
    flux = primary(np.ones((9, 60)))
    hdus = [flux, *(bare(np.ones((9, 60)), name) for name in ("ERROR", "BADPIX"))]
    fits.HDUList(hdus).writeto(tmp_path / "rss.fits")
    for instrument in ("auto", "califa"):
        with pytest.raises(InputError, match=r"9 row-stacked spectra .* give the rscube"):
            read_cube(tmp_path / "rss.fits", instrument)


def test_a_file_of_one_instrument_forced_to_another_says_what_it_lacks(tmp_path):
    fits.HDUList(sami(Voxels.drawn())).writeto(tmp_path / "cube.fits")
    with pytest.raises(InputError, match=r"no extension DATA .* A MUSE cube needs one DATA"):
        read_cube(tmp_path / "cube.fits", "muse")
