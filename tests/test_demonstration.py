"""The demo gives the run what each instrument's files need."""

import pytest

from betis import demonstration
from betis.demonstration import demo
from betis.mock import MockOptions


class NoRunError(Exception):
    """Raised in place of a whole run."""


@pytest.fixture
def asked(monkeypatch):
    """Keep what the run was opened with, and go no further."""
    found = []

    def open_run(*given):
        found.append(given)
        raise NoRunError

    monkeypatch.setattr(demonstration.pipeline, "open_run", open_run)
    return found


def start(folder, **options):
    with pytest.raises(NoRunError):
        demo(folder, MockOptions(n_y=8, n_x=8, **options))


@pytest.mark.parametrize(
    ("options", "cube", "beside", "line"),
    [
        ({}, "galaxy.fits", {}, "SII6731"),
        ({"instrument": "manga"}, "galaxy.fits", {}, "SII6731"),
        ({"instrument": "sami"}, "galaxy_blue.fits", {"arm": "galaxy_red.fits"}, "SII6731"),
        ({"instrument": "generic"}, "galaxy.fits", {"instrument": "galaxy.toml"}, "SII6731"),
        ({"instrument": "kcwi"}, "galaxy.fits", {}, "OIII5007"),
        ({"instrument": "califa", "mode": "V1200"}, "galaxy.fits", {}, "Hg4340"),
    ],
)
def test_the_run_gets_the_files_and_a_line_that_is_there(
    asked, tmp_path, options, cube, beside, line
):
    start(tmp_path, **options)
    ((_, path, tables, _),) = asked
    expected = {key: str(tmp_path.resolve() / name) for key, name in beside.items()}
    assert path == tmp_path / cube
    assert tables["prepare"] == {"redshift": 0.01, "av": 0.0, **expected}
    assert tables["snr"] == {"line": line}
    assert path.exists()


def test_an_extinction_that_the_survey_removed_is_not_asked_for(asked, tmp_path):
    start(tmp_path / "muse", av=0.4)
    start(tmp_path / "califa", av=0.4, instrument="califa")
    assert [given[2]["prepare"]["av"] for given in asked] == [0.4, 0.0]
