"""A sample goes on past its failures, takes up what is missing, and one table tells all."""

import errno
import os
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from tests.batch.samples import (
    SURVEYS,
    in_this_process,
    run_sample,
    summary_rows,
    without_voxels,
    write_mock,
)

from betis.batch.sample import run_batch
from betis.cli import main
from betis.compute import host_cores
from betis.config import read_tables
from betis.errors import ConfigError, RunFolderError
from betis.flags import Flag
from betis.io.run_folder import RunFolder

BROKEN = ("muse-1", "manga-2", "califa-0")
WITH_STARS = "muse-2"
UNITS = ("flux [erg/s/cm2]", "flux error [erg/s/cm2]", "velocity [km/s]", "sigma [km/s]")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Three mocks of each of four surveys; one is cut short, one no FITS, one without voxels."""
    folder = tmp_path_factory.mktemp("sample")
    lines = ["# a sample of mocks", "name, cube, arm, z, continuum, target-snr, _note", ""]
    for seed in range(3):
        for survey in SURVEYS:
            name = f"{survey}-{seed}"
            ranges = {"wave_min": 4800.0, "wave_max": 7000.0} if name == WITH_STARS else {}
            cube, arm = write_mock(folder, name, survey, seed=seed, **ranges)
            engine = "templates" if name == WITH_STARS else ("none", "polynomial")[seed % 2]
            lines.append(f"{name},{cube},{arm},0.01,{engine},5,mock")
    (folder / "sample.csv").write_text("\n".join(lines) + "\n")
    (folder / "whole").mkdir()
    for name in BROKEN:
        shutil.copy(folder / f"{name}.fits", folder / "whole")
    cut, alien, empty = (folder / f"{name}.fits" for name in BROKEN)
    cut.write_bytes(cut.read_bytes()[:40000])
    alien.write_text("a letter to the archive\n")
    without_voxels(empty)
    return folder


@pytest.fixture(scope="module")
def first(sample):
    """How the sample ended when it was run for the first time."""
    return run_sample(sample)[0]


def test_nine_results_three_sentences_one_table(sample, first):
    failed = {name: result.said for name, result in first.items() if result.status == "failed"}
    assert set(failed) == set(BROKEN)
    assert "is cut short" in failed["muse-1"]
    assert "cannot be read as a FITS file" in failed["manga-2"]
    assert "every value is NaN or masked there" in failed["califa-0"]
    assert not any("\n" in said or said.startswith("a bug") for said in failed.values())
    rows = summary_rows(sample)
    assert list(rows) == list(first)
    assert [row["status"] for row in rows.values()].count("done") == 9
    assert {name: row["said"] for name, row in rows.items() if row["said"]} == failed
    log = (sample / "out/run.log").read_text()
    assert log.count(" done\n") == 9
    assert log.count(" failed ") == 3


def test_what_each_run_said_is_kept_beside_it(sample, first):
    said = (sample / "out/muse-0.log").read_text()
    assert "lines  " in said
    assert "done:" in said
    assert first["muse-1"].said in (sample / "out/muse-1.log").read_text()


def test_the_summary_is_what_the_products_say(sample, first):
    row = summary_rows(sample)["manga-0"]
    lines = fits.getdata(sample / "out/manga-0/lines.fits", "LINES")
    absent = Flag.NOT_DETECTED | Flag.NO_DATA | Flag.NO_COMPONENT
    found = lines[(lines["line"] == "Ha6563") & (lines["flags"] & absent == 0)]
    told = {name: float(row[f"Ha6563 {name}"]) for name in ("bins", *UNITS)}
    assert told["bins"] == len(found) > 10
    assert told["flux [erg/s/cm2]"] == pytest.approx(found["flux"].sum() * 1e-17, rel=1e-6)
    error = np.sqrt((found["flux_err"] ** 2).sum()) * 1e-17
    assert told["flux error [erg/s/cm2]"] == pytest.approx(error, rel=1e-6)
    assert told["velocity [km/s]"] == pytest.approx(np.median(found["velocity"]), rel=1e-6)
    assert told["sigma [km/s]"] == pytest.approx(np.median(found["sigma"]), rel=1e-6)
    bins = fits.getdata(sample / "out/manga-0/bins.fits", "BINS")
    assert float(row["bins"]) == len(bins)
    assert float(row["spaxels"]) == bins["n_spaxel"].sum()
    low = (bins["flags"] & Flag.LOW_SNR) > 0
    assert float(row["bins below target"]) == low.sum()
    share = bins["n_spaxel"][~low].sum() / bins["n_spaxel"].sum()
    assert float(row["spaxels that reach target"]) == pytest.approx(share)
    assert float(row["redshift"]) == 0.01
    made = RunFolder(sample / "out/manga-0").provenance()
    assert float(row["warnings"]) == sum(map(len, made["warnings"].values()))
    seconds = sum(stage["seconds"] for stage in made["stages"].values())
    assert float(row["time [s]"]) == pytest.approx(seconds)


def test_a_galaxy_has_one_flux_whoever_observed_it(sample, first):
    rows = summary_rows(sample)
    fluxes = [float(rows[f"{survey}-1"]["Ha6563 flux [erg/s/cm2]"]) for survey in SURVEYS[1:]]
    assert max(fluxes) < 1.2 * min(fluxes)


def test_what_is_not_known_is_an_empty_cell(sample, first):
    rows = summary_rows(sample)
    assert rows["muse-0"]["OII3726 flux [erg/s/cm2]"] == rows["muse-0"]["OII3726 bins"] == ""
    assert float(rows["sami-0"]["OII3726 flux [erg/s/cm2]"]) > 0
    assert rows["muse-0"]["stars velocity [km/s]"] == ""
    assert abs(float(rows[WITH_STARS]["stars velocity [km/s]"])) < 100
    assert 0.5 < float(rows[WITH_STARS]["continuum chi2"]) < 2
    assert rows["muse-1"]["bins"] == ""
    assert "nan" not in (sample / "out/summary.csv").read_text().replace("is NaN", "").lower()


def test_a_second_time_only_what_failed_is_run_and_what_was_mended_is_done(sample, first):
    for name in ("muse-1", "califa-0"):
        shutil.copy(sample / "whole" / f"{name}.fits", sample / f"{name}.fits")
    made = {path: path.stat().st_mtime_ns for path in sample.glob("out/*-[012]/*.fits")}
    second, ran = run_sample(sample)
    assert sorted(ran) == sorted(BROKEN)
    assert [name for name, result in second.items() if result.status == "failed"] == ["manga-2"]
    assert [name for name, result in second.items() if not result.kept] == sorted(
        BROKEN, key=list(first).index
    )
    mended = ("muse-1", "califa-0")
    kept = {path: when for path, when in made.items() if path.parent.name not in mended}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    for name, result in first.items():
        if result.status == "done":
            assert second[name].numbers == pytest.approx(result.numbers, nan_ok=True)


@pytest.fixture
def pair(sample, first, tmp_path):
    """A catalogue of one galaxy that can be run, for tests to write on."""
    shutil.copy(sample / "muse-0.fits", tmp_path)

    def write(text, *rows):
        head = "name,cube,redshift,continuum,target_snr"
        (tmp_path / "sample.csv").write_text("\n".join([f"{head}{text}", *rows]) + "\n")
        return tmp_path

    return write


def test_what_cannot_be_run_is_told_first_and_takes_no_process(pair):
    folder = pair(
        ",binning",
        "good,muse-0.fits,0.01,none,5,",
        "lost,nowhere.fits,0.01,none,5,",
        "still,muse-0.fits,,none,5,",
        "wrong,muse-0.fits,0.01,none,-5,",
        "other,muse-0.fits,0.01,nothing,5,",
    )
    results, ran = run_sample(folder)
    assert ran == ["good"]
    assert {name for name, result in results.items() if result.status == "failed"} == {
        "lost", "still", "wrong", "other",
    }  # fmt: skip
    assert "there is no file" in results["lost"].said
    assert "the redshift of the galaxy is not given" in results["still"].said
    assert "'target' of [binning] is -5" in results["wrong"].said
    assert "'engine' of [continuum] is 'nothing'" in results["other"].said
    assert [result.name for result in results.values()] == list(summary_rows(folder))


def test_a_run_that_waits_for_starlight_is_told_as_waiting(pair, capsys):
    folder = pair("", "good,muse-0.fits,0.01,none,5")
    assert run_sample(folder)[0]["good"].status == "done"
    folder = pair("", "good,muse-0.fits,0.01,starlight,5")
    result = run_sample(folder)[0]["good"]
    assert result.status == "waiting"
    assert re.match(r"STARLIGHT has \d+ of \d+ spectra to fit", result.said)
    row = summary_rows(folder)["good"]
    assert (row["status"], row["said"]) == ("waiting", result.said)
    assert "bins" not in row
    with in_this_process():
        assert main(["batch", str(folder / "sample.csv"), "-o", str(folder / "out")]) == 0
    assert "galaxies: 1 waiting; the table is" in capsys.readouterr().out
    folder = pair("", "good,muse-0.fits,0.01,none,5")
    again = run_sample(folder)[0]["good"]
    assert (again.status, again.said) == ("done", "")


def test_galaxies_that_run_together_share_the_cores_unless_told_otherwise(pair):
    folder = pair(
        ",cores,starlight.processes",
        "one,muse-0.fits,0.01,none,99999,,",
        "two,muse-0.fits,0.01,none,99999,3,5",
    )
    cores = host_cores()
    for at_once in (1, 2):
        run_sample(folder, at_once)
        one, two = (read_tables(folder / "out" / f"{name}.toml") for name in ("one", "two"))
        share = 0 if at_once == 1 else max(1, cores // 2)
        assert (one["compute"]["cores"], one["starlight"]["processes"]) == (share, share)
        assert (two["compute"]["cores"], two["starlight"]["processes"]) == (3, 5)


def test_the_common_options_are_under_those_of_a_row(pair):
    folder = pair(",lines.detection", "one,muse-0.fits,0.01,none,99999,", "two,muse-0.fits,,,,7")
    common = folder / "common.toml"
    common.write_text('[input]\ncube = "x"\n[prepare]\nredshift = 0.01\n[lines]\ndetection = 4\n')
    with common.open("a") as stream:
        stream.write("[binning]\ntarget = 88888\n")
    results, _ = run_sample(folder, common=common)
    one, two = (read_tables(folder / "out" / f"{name}.toml") for name in ("one", "two"))
    assert (one["lines"]["detection"], one["binning"]["target"]) == (4, 99999)
    assert (two["lines"]["detection"], two["binning"]["target"]) == (7, 88888)
    assert all("no bin reaches S/N" in result.said for result in results.values())


def test_common_options_that_are_wrong_are_refused_before_anything_runs(tmp_path):
    common = tmp_path / "common.toml"
    common.write_text("[binning]\ntarget = -3\n")
    with pytest.raises(ConfigError, match="target"):
        run_batch([], tmp_path / "out", common, 1, print)


def test_a_check_tells_what_would_fail_and_runs_nothing(pair, capsys):
    folder = pair(
        "", "good,muse-0.fits,0.01,none,5", "lost,no.fits,0.01,,", "text,sample.csv,0.01,,"
    )
    before = sorted(folder.iterdir())
    arguments = ["batch", str(folder / "sample.csv"), "-o", str(folder / "out"), "--dry-run"]
    assert main(arguments) == 2
    said = capsys.readouterr().out
    assert re.search(r"^good +ready$", said, re.MULTILINE)
    assert re.search(r"^lost +failed +there is no file", said, re.MULTILINE)
    assert re.search(r"^text +failed .*cannot be read as a FITS file", said, re.MULTILINE)
    assert "galaxies: 1 ready, 2 failed; nothing was run" in said
    assert sorted(folder.iterdir()) == before


def test_two_samples_do_not_share_a_folder(pair):
    folder = pair("", "lost,no.fits,0.01,none,5")
    out = RunFolder(folder / "out")
    out.create()
    with out.held(), pytest.raises(RunFolderError, match=r"another run is at work in .*out"):
        run_sample(folder)
    assert run_sample(folder)[0]["lost"].status == "failed"


def test_a_disk_that_is_full_is_one_sentence(pair, monkeypatch, capsys):
    folder, sync = pair("", "lost,no.fits,0.01,none,5"), os.fsync

    def full(handle):
        if list((folder / "out").glob(".summary.csv*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert main(["batch", str(folder / "sample.csv"), "-o", str(folder / "out")]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"betis: .*summary.csv could not be written: No space .*\n", said)


@pytest.mark.parametrize("taken", ["summary.csv", "good.toml"])
def test_an_output_that_cannot_be_written_is_one_sentence(pair, taken, capsys):
    folder = pair("", "good,muse-0.fits,0.01,none,99999")
    (folder / "out" / taken).mkdir(parents=True)
    with in_this_process():
        status = main(["batch", str(folder / "sample.csv"), "-o", str(folder / "out")])
    assert status == 2
    assert re.fullmatch(rf"betis: .*{taken} could not be written: .*\n", capsys.readouterr().err)


def test_the_output_may_not_be_a_file(pair, capsys):
    folder = pair("", "good,muse-0.fits,0.01,none,5")
    (folder / "out").write_text("")
    assert main(["batch", str(folder / "sample.csv"), "-o", str(folder / "out")]) == 2
    assert "out cannot be made: File exists" in capsys.readouterr().err
