"""A file that is not as it should be is read rightly or refused in one sentence; never half."""

from __future__ import annotations

import re
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from tests.io.mutations.cases import Case
from tests.io.mutations.readable import READABLE
from tests.io.mutations.settings import Setting, Truth, settings
from tests.io.mutations.special import SPECIAL
from tests.io.mutations.unusable import UNUSABLE

import betis
from betis.cli import main

CASES: tuple[Case, ...] = (*READABLE, *UNUSABLE, *SPECIAL)
READ = [case for case in CASES if case.truth]
REFUSED = [case for case in CASES if case.sentence]
TOLD = [case for case in CASES if case.told]
LINE = ("--snr-line", "Ha6563")


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    return settings(tmp_path_factory.mktemp("clean"))


def said_by(arguments, capsys):
    """Run the command line; return its status and what it says."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return status, said


def laid_out(case: Case, setting: Setting, folder: Path) -> list[str]:
    """Write the mutated files; return the arguments of the command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case.change(setting.lay(folder))
    return [*setting.arguments(folder), *case.words]


def snr_map(path: Path) -> np.ndarray:
    with fits.open(path) as hdus:
        return np.array([hdus["SIGNAL"].data, hdus["NOISE"].data], dtype=float)


@pytest.fixture(scope="module")
def clean(laid, tmp_path_factory):
    """The S/N map of each setting as it should be."""

    @cache
    def measured(name):
        folder = tmp_path_factory.mktemp("measured")
        laid[name].lay(folder)
        assert main(["prepare", *laid[name].arguments(folder), "-o", str(folder / "out")]) == 0
        assert main(["snr", str(folder / "out"), *LINE]) == 0
        return snr_map(folder / "out" / "snr.fits")

    return measured


def opened(arguments):
    given = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    return betis.read_cube(arguments[0], given.get("--instrument"), given.get("--arm"))


def require(cube, truth: Truth, rtol: float) -> None:
    """Check all that a cube holds against what is true."""
    block = cube.read()
    np.testing.assert_array_equal(block.mask, truth.bad)
    good = ~truth.bad
    np.testing.assert_allclose(block.flux[good], truth.flux[good], rtol=rtol)
    np.testing.assert_allclose(block.variance[good] ** 0.5, truth.sigma[good], rtol=rtol)
    np.testing.assert_allclose(cube.wave, truth.wave, rtol=0, atol=1e-6)
    assert cube.medium == truth.medium
    assert cube.sky.flux_scale == pytest.approx(truth.scale)
    assert bool(cube.sky.wcs) == truth.has_sky
    if truth.has_sky:
        assert (cube.sky.wcs["CRVAL1"], cube.sky.wcs["CRPIX2"]) == (150.0, 4.0)


def test_there_are_enough_of_them():
    assert len(CASES) >= 300
    assert len({str(case) for case in CASES}) == len(CASES)
    assert len(READ) + len(REFUSED) + len(TOLD) == len(CASES)


@pytest.mark.parametrize("case", READ, ids=str)
def test_what_can_be_read_is_read_as_if_nothing_were_wrong(case, laid, clean, tmp_path, capsys):
    setting = laid[case.setting]
    truth = case.truth(setting.truth, setting)
    arguments = laid_out(case, setting, tmp_path)
    require(opened(arguments), truth, case.rtol)
    for words in (
        ["prepare", *arguments, "-o", tmp_path / "out"],
        ["snr", tmp_path / "out", *LINE],
    ):
        status, said = said_by(words, capsys)
        assert (status, said.err) == (0, "")
    found, expected = snr_map(tmp_path / "out" / "snr.fits"), clean(case.setting)
    nothing_new = np.array_equal(truth.flux, setting.truth.flux)
    if nothing_new and (truth.bad >= setting.truth.bad).all():
        kept = ~(truth.bad != setting.truth.bad).any(axis=0)
        np.testing.assert_allclose(found[:, kept], expected[:, kept], rtol=100 * case.rtol)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_be_used_is_refused_in_one_sentence(case, laid, tmp_path, capsys):
    arguments = laid_out(case, laid[case.setting], tmp_path)
    folder = tmp_path / "out"
    status, said = said_by(["prepare", *arguments, "-o", folder], capsys)
    stages = ["prepare"]
    if case.stage == "prepare":
        assert not folder.exists()
    for stage in ("snr", "bin"):
        if status == 0:
            status, said = said_by([stage, folder, *(LINE if stage == "snr" else ())], capsys)
            stages.append(stage)
    assert status == 2, stages
    assert said.err.startswith("betis: ")
    assert said.err.count("\n") == 1
    assert re.search(case.sentence, said.err), said.err
    assert not (folder / "bins.fits").exists()
    assert stages[-1] == case.stage or stages == ["prepare"]


@pytest.mark.parametrize("case", TOLD, ids=str)
def test_what_nobody_can_know_is_told_by_inspect(case, laid, tmp_path, capsys):
    clean = laid[case.setting]
    clean.lay(tmp_path / "clean")
    status, said = said_by(["inspect", *clean.arguments(tmp_path / "clean")], capsys)
    assert status == 0
    assert not re.search(case.told, said.out)
    arguments = laid_out(case, clean, tmp_path / "mutated")
    status, said = said_by(["inspect", *arguments], capsys)
    assert (status, said.err) == (0, "")
    assert re.search(case.told, " ".join(said.out.split())), said.out
