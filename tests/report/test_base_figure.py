"""The figure of a stellar base."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from betis.cli import main
from betis.errors import InputError
from betis.io.templates import load_templates
from betis.report.base_figure import default_path, draw_base, write_base_figure


@pytest.fixture(scope="module")
def base():
    return load_templates("bpass")


def part(base, rows, waves=slice(None)):
    return replace(
        base,
        wave=base.wave[waves],
        flux=base.flux[rows, waves],
        age=base.age[rows],
        metallicity=base.metallicity[rows],
        mass_fraction=base.mass_fraction[rows],
        fwhm=base.fwhm[waves],
    )


def picture(templates):
    return imread(BytesIO(draw_base(templates)), format="png")[..., :3]


def coloured_share(image):
    return np.mean(np.ptp(image, axis=2) > 0.15)


def test_the_same_base_gives_the_same_bytes(base):
    assert draw_base(base) == draw_base(base)


def test_more_templates_leave_more_colour(base):
    few, many = picture(part(base, slice(0, 2))), picture(base)
    assert few.shape == many.shape
    assert coloured_share(many) > 1.5 * coloured_share(few)


def test_old_templates_are_red_and_young_ones_blue(base):
    """Of one age each, so that colours must come from a range of ages."""
    ages = np.argsort(base.age)
    both = part(base, ages[[0, -1]])
    image = picture(both)
    red = (image[..., 0] > image[..., 2] + 0.3).mean()
    blue = (image[..., 2] > image[..., 0] + 0.1).mean()
    assert red > 0.001
    assert blue > 0.001


@pytest.mark.parametrize(
    "change",
    [
        lambda base: part(base, slice(0, 1)),
        lambda base: part(base, slice(0, 3), slice(0, 5)),
        lambda base: part(base, slice(0, 3), slice(6500, None)),
        lambda base: replace(base, metallicity=np.zeros(base.n_template)),
        lambda base: replace(base, age=np.zeros(base.n_template)),
        lambda base: replace(base, name=r"a $\base"),
        lambda base: replace(base, flux=np.zeros_like(base.flux)),
    ],
    ids=["one", "few pixels", "red end", "no Z", "no age", "odd name", "dark"],
)
def test_any_base_can_be_drawn(base, change):
    assert picture(change(base)).shape[2] == 3


def test_the_command_draws_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["templates", "show", "bpass"]) == 0
    assert "drawn: betis-bpass.png" in capsys.readouterr().out
    assert imread(tmp_path / "betis-bpass.png").shape[2] >= 3
    assert main(["templates", "show", "bpass", "-o", "mine.png"]) == 0
    assert (tmp_path / "mine.png").read_bytes() == (tmp_path / "betis-bpass.png").read_bytes()


def test_a_base_of_any_name_has_a_file(base):
    assert str(default_path(replace(base, name="miles/*Zp0.00*.fits"))) == (
        "betis-miles_Zp0.00_.fits.png"
    )
    assert str(default_path(replace(base, name=""))) == "betis-base.png"


def test_where_it_cannot_be_written_is_one_sentence(tmp_path, base):
    with pytest.raises(InputError, match=r"figure cannot be written to .*No such file"):
        write_base_figure(tmp_path / "no" / "where.png", base)
