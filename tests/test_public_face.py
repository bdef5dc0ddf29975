"""The public names and their signatures are a promise."""

import inspect
import subprocess
import sys

import betis
from betis.config import FLAGS

SIGNATURES = {
    "fit_continuum": "(spectra, templates=None, mask_lines=True, **options)",
    "fit_lines": "(gas, lines='standard', continuum=None, **options)",
    "line_snr": "(cube, line='SII6731', method='matched', **options)",
    "load_templates": "(source='bpass', *, spectra_dir=None, fwhm=None)",
    "make_maps": "(bins, lines, continuum=None)",
    "prepare": "(cube, redshift, av=0.0, **options)",
    "quadtree": "(signal, noise, target=10.0, correlation=None, **options)",
    "read_cube": "(path, instrument=None, arm=None)",
    "resample": "(spectra, wave=None, *, step=None, method='conserving')",
    "run": "(path=None, redshift=None, output='betis-run', config=None, **options)",
    "stack": "(cube, bins)",
    "voronoi": "(signal, noise, target=10.0, correlation=None, **options)",
}
CONTAINERS = {
    "BinMap",
    "ContinuumFit",
    "Cube",
    "LineFit",
    "Maps",
    "Resampled",
    "SnrMap",
    "Spectra",
    "Templates",
}
ERRORS = {"BetisError", "ConfigError", "FitError", "InputError", "RunFolderError"}


def test_the_names_are_these():
    assert set(betis.__all__) == set(SIGNATURES) | CONTAINERS | ERRORS | {"Flag"}
    assert sorted(betis.__all__) == betis.__all__


def test_the_signatures_are_these():
    for name, expected in SIGNATURES.items():
        found = inspect.signature(getattr(betis, name))
        bare = found.replace(
            parameters=[p.replace(annotation=p.empty) for p in found.parameters.values()],
            return_annotation=found.empty,
        )
        assert str(bare) == expected, name


def test_the_keywords_of_run_are_all_named():
    said = inspect.getdoc(betis.run)
    assert [flag for flag in FLAGS if flag not in said] == []


def test_spectra_take_bare_arrays_by_position():
    parameters = list(inspect.signature(betis.Spectra).parameters)
    assert parameters[:6] == ["wave", "flux", "error", "mask", "medium", "lsf"]


def test_every_public_thing_says_what_it_is():
    for name in betis.__all__:
        assert inspect.getdoc(getattr(betis, name)), name


def heavy_after(code):
    heavy = "{'jax', 'matplotlib', 'astropy', 'scipy', 'pydantic'}"
    script = f"import sys\n{code}\nprint(sorted({heavy} & set(sys.modules)))"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]


def test_importing_betis_is_light():
    assert heavy_after("import betis") == "[]"


def test_the_help_is_light():
    assert heavy_after("from betis.cli import main\nmain(['--help'])") == "[]"


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(betis, "voronoi_of_the_future")
