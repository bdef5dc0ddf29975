"""What is said of a run is true of it."""

import numpy as np
import pytest
from astropy import units
from rich.console import Console
from tests.cubes import noise_cube

from betis.cli import main
from betis.console import ConsoleListener, show_facts
from betis.inspection import estimate_cost
from betis.io.products import flux_unit
from betis.io.run_folder import RunFolder
from betis.mock import MockOptions, make_galaxy, write_cube
from betis.noise import NoiseCheck
from betis.options import PrepareOptions
from betis.products import Sky
from betis.stages import _errors


@pytest.fixture
def dereddened_cube(tmp_path):
    path = tmp_path / "califa.fits"
    options = MockOptions(n_y=8, n_x=8, instrument="califa", wave_min=6500, wave_max=6900)
    write_cube(make_galaxy(options), path)
    return path


def test_a_warning_goes_with_its_cause(dereddened_cube, tmp_path):
    folder = tmp_path / "out"
    given = ["prepare", str(dereddened_cube), "-z", "0.01", "-o", str(folder)]
    assert main([*given, "--av", "1"]) == 0
    said = RunFolder(folder).provenance()["warnings"]["prepare"]
    assert "is not applied a second time" in said[0]
    assert main(given) == 0
    assert RunFolder(folder).provenance()["warnings"]["prepare"] == []


@pytest.mark.parametrize("scale", [1e-20, 1e-16, 3e-17, 1.5e-16, 1.0])
def test_the_unit_of_a_product_is_the_scale_of_its_numbers(scale):
    unit = units.Unit(flux_unit(Sky(shape=(1, 1), flux_scale=scale), density=True))
    assert unit.to("erg s-1 cm-2 Angstrom-1") == pytest.approx(scale, rel=1e-9)


@pytest.mark.parametrize("text", ["ngc[old]/bins.fits", "[/bold]", "[red]1[/red]"])
def test_brackets_are_printed_as_they_are(text, capsys):
    ConsoleListener(Console()).warn(text)
    show_facts({text: text})
    assert capsys.readouterr().out.count(text) == 3


@pytest.mark.parametrize("rho", [0.0, 0.14])
def test_the_report_says_by_what_errors_were_multiplied(rho):
    check = NoiseCheck(ratio=np.full(400, 1.2), correlation=rho)
    cube = noise_cube((2, 2))
    assert "multiplied" not in _errors(cube, check, PrepareOptions())
    said = _errors(cube, check, PrepareOptions(rescale_noise=True))
    assert "multiplied" in said
    assert (f"by {np.sqrt(1 + 2 * rho):.2f} for correlated" in said) == (rho > 0)


def test_one_bin_is_one_bin():
    assert "for 1 bin (" in estimate_cost(1, 1000)["time of a run"]
    assert "for 2 to 50 bins (" in estimate_cost(100, 1000)["time of a run"]
