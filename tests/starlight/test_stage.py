"""STARLIGHT as the engine of a run: written, waited for, run, picked up; each row for itself."""

import json
import subprocess
from dataclasses import fields

import numpy as np
import pytest

from betis import cli
from betis.errors import BetisError, ConfigError, FitError, InputError, WaitingError
from betis.flags import Flag
from betis.io.row_products import read_spectra
from betis.io.starlight.grid import parse_grid
from betis.io.starlight.output import read_output


def calls(folder):
    """Return the spectra that the stand-in was called for, and forget them."""
    path = folder / "starlight/calls.txt"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(names)


def behave(folder, **names):
    """Tell the stand-in how to misbehave: bin_3="crash"."""
    (folder / "starlight").mkdir(exist_ok=True)
    told = {f"NGC_1_test__{name}.txt": what for name, what in names.items()}
    (folder / "starlight/behaviour.json").write_text(json.dumps(told))


def outputs(folder):
    (made,) = (folder / "starlight").glob("out-*")
    return made


def same_rows(one, two, rows):
    """Tell whether some rows of two fits are the same in everything."""
    names = [item.name for item in fields(one) if item.name not in {"core_wave", "core_err"}]
    return all(
        np.array_equal(getattr(one, name)[rows], getattr(two, name)[rows], equal_nan=True)
        for name in names
    )


class TestWithTheExecutable:
    def test_everything_reaches_the_fit(self, finished, fitted):
        spectra = read_spectra(finished.folder / "spectra.fits").take(slice(None))
        assert spectra.n_spectrum == 9
        assert np.all(fitted.flags == 0)
        np.testing.assert_array_equal(fitted.velocity, 12.34)
        np.testing.assert_array_equal(fitted.av, 0.25)
        assert np.all((fitted.sigma > 90) & (fitted.sigma < 130))
        assert np.all(np.isnan(fitted.velocity_err) & np.isnan(fitted.sigma_err))
        shares = fitted.weights / fitted.weights.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, np.tile([0.6, 0.4, 0.0], (len(shares), 1)), atol=1e-12)
        pulls = (spectra.flux - fitted.model) / spectra.error
        assert 0.7 < np.std(pulls[fitted.used]) < 1.2
        assert np.all((fitted.chi2 / fitted.dof > 0.6) & (fitted.chi2 / fitted.dof < 1.4))

    def test_mean_ages_are_those_of_the_shares(self, fitted, small_base):
        rows = [line.split() for line in small_base.read_text().splitlines()[1:]]
        log_age = np.log10([float(row[1]) for row in rows])
        log_z = np.log10([float(row[2]) for row in rows])
        for values, light, mass in (
            (log_age, fitted.mean_log_age_light, fitted.mean_log_age_mass),
            (log_z, fitted.mean_metallicity_light, fitted.mean_metallicity_mass),
        ):
            np.testing.assert_allclose(light, 0.6 * values[0] + 0.4 * values[1], atol=1e-6)
            np.testing.assert_allclose(mass, 0.1 * values[0] + 0.9 * values[1], atol=1e-6)

    def test_values_are_those_of_the_outputs(self, finished, fitted):
        scale = 1e-20
        for row, path in enumerate(
            outputs(finished.folder) / f"NGC_1_test__bin_{number + 1}.BN"
            for number in range(fitted.flags.size)
        ):
            output = read_output(path)
            expected = output.norm_flux / scale * output.light / 100
            np.testing.assert_allclose(fitted.weights[row], expected)
            used = output.value("Nl_eff")
            assert fitted.chi2[row] == pytest.approx(output.value("chi2/Nl_eff") * used)
            assert fitted.dof[row] == used - 5

    def test_line_pixels_and_sky_are_not_used(self, finished, fitted):
        wave = read_spectra(finished.folder / "spectra.fits").wave
        assert not fitted.used[:, np.abs(wave - 6562.8) < 10].any()
        assert not fitted.used[:, np.abs(wave - 5577 / 1.01) < 8].any()
        # The stand-in clips much of what a running mean cannot follow.
        assert fitted.used[:, np.abs(wave - 5400) < 50].mean() > 0.3
        assert np.isfinite(fitted.model[:, np.abs(wave - 6562.8) < 10]).all()

    def test_each_fit_is_told_once(self, continue_run, executable):
        table = continue_run(executable=str(executable)).table
        assert continue_run.listener.advanced == table.flags.size
        assert len(calls(continue_run.folder)) == table.flags.size

    def test_no_fit_is_made_again(self, repeat_run, fitted, executable):
        again = repeat_run(executable=str(executable)).take(slice(None))
        assert calls(repeat_run.folder) == []
        assert same_rows(again, fitted, slice(None))

    def test_only_what_is_missing_is_made_again(self, repeat_run, fitted, executable):
        folder = repeat_run.folder
        (outputs(folder) / "NGC_1_test__bin_2.BN").unlink()
        (outputs(folder) / "NGC_1_test__bin_4.BN").write_text("This file will be overwritten")
        again = repeat_run(executable=str(executable)).take(slice(None))
        assert calls(folder) == ["NGC_1_test__bin_2.txt", "NGC_1_test__bin_4.txt"]
        assert same_rows(again, fitted, slice(None))

    def test_a_failed_fit_flags_its_own_row_and_no_other(self, repeat_run, fitted, executable):
        folder = repeat_run.folder
        for path in outputs(folder).iterdir():
            path.unlink()
        bad = {"bin_1": "crash", "bin_2": "placeholder", "bin_3": "cut", "bin_5": "abort"}
        behave(folder, **bad)
        table = repeat_run(executable=str(executable)).take(slice(None))
        failed = [0, 1, 2, 4]
        good = np.setdiff1d(np.arange(table.flags.size), failed)
        assert np.all(table.flags[failed] == Flag.FIT_FAILED)
        assert np.isnan(table.model[failed]).all()
        assert np.isnan(table.velocity[failed]).all()
        assert not table.used[failed].any()
        assert same_rows(table, fitted, good)
        said = " ".join(repeat_run.listener.warned)
        assert f"3 of {table.flags.size} spectra: it left no whole output" in said
        assert f"1 of {table.flags.size} spectra: it ended with status -6" in said
        log = folder / "starlight/logs/NGC_1_test__bin_1.BN.log"
        assert "forrtl: severe (64)" in log.read_text()

    def test_a_fit_that_hangs_is_given_up(self, continue_run, executable):
        behave(continue_run.folder, bin_2="hang")
        table = continue_run(executable=str(executable), time_limit=3.0).table
        assert np.flatnonzero(table.flags).tolist() == [1]
        assert "it took longer than 3 s" in " ".join(continue_run.listener.warned)
        assert not list((continue_run.folder / "starlight").glob("running-*"))

    def test_where_all_fail_the_run_stops_and_says_why(self, continue_run, tmp_path):
        program = tmp_path / "broken.exe"
        program.write_text("#!/bin/sh\necho no such library\nexit 127\n")
        program.chmod(0o755)
        with pytest.raises(FitError, match=r"none of \d+ spectra .*status 127.*'no such library'"):
            continue_run(executable=str(program))

    def test_what_cannot_be_run_is_refused(self, continue_run, tmp_path):
        with pytest.raises(ConfigError, match=r"'absent.exe', which is no program that can be run"):
            continue_run(executable="absent.exe")
        program = tmp_path / "nothing.exe"
        program.write_bytes(b"\x7fELF of another machine")
        program.chmod(0o755)
        with pytest.raises(InputError, match=r"nothing.exe cannot be run: Exec format error"):
            continue_run(executable=str(program))

    def test_results_do_not_depend_on_the_number_of_processes(self, repeat_run, fitted, executable):
        for path in outputs(repeat_run.folder).iterdir():
            path.unlink()
        again = repeat_run(executable=str(executable), processes=1).take(slice(None))
        assert same_rows(again, fitted, slice(None))

    def test_kinematics_are_held_at_those_of_the_own_engine(self, continue_run, executable):
        free = continue_run(tables={"continuum": {"engine": "templates"}}).table
        held = continue_run(executable=str(executable), kinematics="FXK").table
        assert np.all(held.flags == 0)
        np.testing.assert_allclose(held.velocity, free.velocity, atol=0.011)
        np.testing.assert_allclose(held.sigma, free.sigma, atol=0.1)


class TestWithoutIt:
    def test_it_writes_says_what_to_do_and_waits(self, continue_run):
        with pytest.raises(WaitingError, match=r"STARLIGHT has 9 of 9 spectra to fit: in"):
            continue_run()
        folder = continue_run.folder / "starlight"
        grids = sorted(path.name for path in folder.glob("*.in"))
        assert grids == ["NGC_1_test__bin10_1.in", "NGC_1_test__bin10_2.in"]
        assert not (continue_run.folder / "continuum.fits").exists()

    def test_what_was_run_by_hand_is_picked_up(self, hand_run, fitted):
        by_hand = hand_run().take(slice(None))
        assert same_rows(by_hand, fitted, slice(None))

    def test_grid_files_hold_what_is_missing(self, hand_run):
        folder = hand_run.folder
        (outputs(folder) / "NGC_1_test__bin_3.BN").unlink()
        (outputs(folder) / "NGC_1_test__bin_5.BN").write_text("This file will be overwritten")
        with pytest.raises(WaitingError, match="STARLIGHT has 2 of"):
            hand_run()
        rows = [parse_grid(path.read_text()) for path in (folder / "starlight").glob("*.in")]
        assert sorted(fit.spectrum for grid in rows for fit in grid.fits) == [
            "NGC_1_test__bin_3.txt",
            "NGC_1_test__bin_5.txt",
        ]

    def test_on_request_what_is_missing_is_flagged(self, hand_run):
        folder = hand_run.folder
        (outputs(folder) / "NGC_1_test__bin_3.BN").unlink()
        table = hand_run(missing="flag").table
        assert np.flatnonzero(table.flags).tolist() == [2]
        assert "spectra: there is no output" in " ".join(hand_run.listener.warned)

    def test_the_output_of_another_spectrum_is_flagged(self, hand_run):
        folder = hand_run.folder
        third, fourth = (outputs(folder) / f"NGC_1_test__bin_{n}.BN" for n in (3, 4))
        third.write_text(fourth.read_text())
        renamed = outputs(folder) / "NGC_1_test__bin_6.BN"
        renamed.write_text(fourth.read_text().replace("_bin_4.txt", "_bin_6.txt"))
        table = hand_run().table
        assert np.flatnonzero(table.flags).tolist() == [2, 5]
        said = " ".join(hand_run.listener.warned)
        assert "spectra: the output is that of a spectrum of another name" in said
        assert "spectra: the output is that of another spectrum" in said

    def test_outputs_of_spectra_that_have_changed_are_asked_for_again(self, hand_run):
        with pytest.raises(WaitingError, match="spectra to fit"):
            hand_run(tables={"continuum": {"engine": "starlight"}, "prepare": {"av": 0.1}})

    def test_the_shipped_base_is_written_where_none_is_given(self, continue_run):
        with pytest.raises(WaitingError, match="spectra to fit"):
            continue_run(base="")
        assert "base 'bpass' was written as one of 82 spectra" in continue_run.listener.warned[0]
        folder = continue_run.folder / "starlight"
        assert len(list((folder / "base").iterdir())) == 82

    def test_the_configuration_stays_that_of_this_run(self, continue_run):
        with pytest.raises(WaitingError, match="spectra to fit"):
            continue_run()
        assert 'engine = "starlight"' in (continue_run.folder / "config.toml").read_text()


class TestCommands:
    def test_waiting_is_no_mistake(self, continue_run, small_base, capsys):
        toml = continue_run.folder.parent / "c.toml"
        toml.write_text(f'[continuum]\nengine = "starlight"\n[starlight]\nbase = "{small_base}"\n')
        folder = str(continue_run.folder)
        assert cli.main(["lines", folder, "-c", str(toml)]) == 0
        assert "and then run betis again" in capsys.readouterr().err
        assert not (continue_run.folder / "lines.fits").exists()

    def test_export_writes_what_the_executable_runs_on(
        self, continue_run, executable, tmp_path, capsys
    ):
        target = tmp_path / "there"
        arguments = ["export", "starlight", str(continue_run.folder), "-o", str(target)]
        assert cli.main([*arguments, "--processes", "3"]) == 0
        assert "run STARLIGHT on each of" in capsys.readouterr().out
        grids = sorted(target.glob("*.in"))
        assert len(grids) == 3
        with grids[1].open() as stdin:
            subprocess.run([executable], stdin=stdin, cwd=target, check=True)
        (made,) = target.glob("out-*")
        assert len(list(made.iterdir())) == len(parse_grid(grids[1].read_text()).fits)
        assert not (continue_run.folder / "starlight").exists()


class TestKeys:
    @pytest.mark.parametrize("what", ["spectrum", "base", "config", "mask", "executable"])
    def test_a_change_of_any_file_makes_it_again(
        self, what, continue_run, finished, small_base, executable, tmp_path
    ):
        own = copied(small_base, tmp_path / "own")
        given = {
            "config": finished.folder / "starlight/StCv04.betis.config",
            "mask": finished.folder / "starlight/Masks.EmLines.betis",
        }
        for name, source in given.items():
            (tmp_path / name).write_text(source.read_text())
        program = tmp_path / "mine.exe"
        program.write_text(executable.read_text())
        program.chmod(0o755)
        options = {name: str(tmp_path / name) for name in given} | {"executable": str(program)}
        continue_run(base=own, **options)
        continue_run(base=own, **options)
        assert "continuum" in continue_run.listener.kept
        calls(continue_run.folder)
        changed = {
            "spectrum": next(own.parent.glob("*.spec")),
            "base": own,
            "executable": program,
            **{name: tmp_path / name for name in given},
        }[what]
        changed.write_text(changed.read_text().replace("\n", "\n\n" if what == "mask" else " \n"))
        if what == "mask":
            changed.write_text(changed.read_text().replace("\n\n", "\n") + "\nmore\n")
        continue_run(base=own, **options)
        assert "continuum" in continue_run.listener.made
        assert calls(continue_run.folder)

    def test_the_number_of_processes_changes_nothing(self, continue_run, executable):
        continue_run(executable=str(executable))
        continue_run(executable=str(executable), processes=1)
        assert "continuum" in continue_run.listener.kept

    def test_options_of_starlight_do_not_matter_to_other_engines(self, continue_run):
        templates = {"continuum": {"engine": "templates"}}
        continue_run(tables=templates)
        continue_run(tables=templates, law="CAL")
        assert "continuum" in continue_run.listener.kept

    def test_the_spectra_of_a_list_for_the_own_engine_count(
        self, continue_run, small_base, tmp_path
    ):
        own = copied(small_base, tmp_path / "own")
        tables = {"continuum": {"engine": "templates", "templates": str(own)}}
        continue_run(tables=tables)
        spectrum = next(own.parent.glob("*.spec"))
        lines = spectrum.read_text().splitlines()
        spectrum.write_text("\n".join([*lines[:-1], lines[-1].replace("E", "1E"), ""]))
        continue_run(tables=tables)
        assert "continuum" in continue_run.listener.made


def copied(small_base, folder):
    folder.mkdir()
    for path in small_base.parent.iterdir():
        (folder / path.name).write_text(path.read_text())
    return folder / small_base.name


class TestRefusals:
    def test_a_configuration_that_normalises_elsewhere(self, continue_run, test_data):
        config = test_data / "starlight/kug0210-078/StCv04.C11.config"
        with pytest.raises(
            ConfigError, match=r"normalises at 4010 to 4060 Angstrom, where the fit"
        ):
            continue_run(config=str(config))

    def test_a_base_that_does_not_reach(self, continue_run, small_base, tmp_path):
        own = copied(small_base, tmp_path / "own")
        for path in own.parent.glob("*.spec"):
            path.write_text("\n".join(path.read_text().splitlines()[:400]))
        with pytest.raises(FitError, match="the base spans 4101 to 4500 Angstrom and the spectra"):
            continue_run(base=own)

    @pytest.mark.parametrize("name", ["base", "config", "mask"])
    def test_files_that_are_not_there(self, continue_run, name, tmp_path):
        with pytest.raises(BetisError, match="absent"):
            continue_run(**{name: str(tmp_path / "absent")})

    def test_velocities_of_neighbourhoods(self, continue_run):
        tables = {"continuum": {"engine": "starlight", "kinematics": "coarse"}}
        with pytest.raises(ConfigError, match=r"'coarse' with the engine 'starlight'"):
            continue_run(tables=tables)
