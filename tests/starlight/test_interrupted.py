"""A run of STARLIGHT that is ended from outside leaves no process, and goes on where it was."""

import os
import signal
import subprocess
import sys
import time

import pytest

CODE = """
import sys
from betis import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def living(text):
    """Return the processes that have a text in their command line."""
    done = subprocess.run(
        ["ps", "-ewwo", "pid,stat,args"], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]]
    return [int(pid) for pid, state, args in rows if text in args and not state.startswith("Z")]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_and_what_is_done_is_kept(
    sent, continue_run, executable, small_base, tmp_path
):
    program = tmp_path / f"Starlight{os.getpid()}{int(sent)}.exe"
    program.write_text(executable.read_text())
    program.chmod(0o755)
    folder = continue_run.folder
    (folder / "starlight").mkdir()
    hang = {f"NGC_1_test__bin_{number}.txt": "hang" for number in (3, 4)}
    (folder / "starlight/behaviour.json").write_text(str(hang).replace("'", '"'))
    toml = tmp_path / "c.toml"
    toml.write_text(
        f'[continuum]\nengine = "starlight"\n[starlight]\nexecutable = "{program}"\n'
        f'base = "{small_base}"\nprocesses = 2\n'
    )
    command = [sys.executable, "-c", CODE, "continuum", str(folder), "-c", str(toml)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 120
        while len(done(folder)) < 2 or len(living(program.name)) < 2:
            assert time.monotonic() < deadline, "the fits did not begin"
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.1)
        run.send_signal(sent)
        assert run.wait(60) == 130
        assert "run the same command again to go on" in run.stderr.read()
    assert living(program.name) == []
    assert done(folder) == {"NGC_1_test__bin_1.BN", "NGC_1_test__bin_2.BN"}
    (folder / "starlight/behaviour.json").unlink()
    (folder / "starlight/calls.txt").unlink()
    table = continue_run(executable=str(program)).table
    assert not table.flags.any()
    called = (folder / "starlight/calls.txt").read_text().split()
    assert len(called) == table.flags.size - 2
    assert not {"NGC_1_test__bin_1.txt", "NGC_1_test__bin_2.txt"} & set(called)


def done(folder):
    return {path.name for path in (folder / "starlight").glob("out-*/*")}
