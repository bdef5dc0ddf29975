"""No run outlives the sample that began it, however that ends."""

import signal
import subprocess
import sys
import time

import pytest

from betis.batch import processes
from betis.batch.processes import Crew
from betis.errors import RunFolderError

RUN = """
import os, pathlib, subprocess, sys, time
from betis.batch.processes import follow_starter
follow_starter()
helper = subprocess.Popen(["sleep", "600"])
part = pathlib.Path(sys.argv[1] + ".part")
part.write_text(f"{os.getpid()} {helper.pid}")
part.rename(sys.argv[1])
time.sleep(600)
"""
STARTER = f"""
import signal, sys
from pathlib import Path
from betis.batch import processes
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup, which ignores it
processes.PROGRAM = (sys.executable, "-c", {RUN!r})
folder = Path(sys.argv[1])
with processes.Crew({{}}) as crew:
    for name in ("one", "two"):
        crew.start(name, [str(folder / f"{{name}}.pids")], folder / f"{{name}}.log")
    while len(crew):
        list(crew.ended())
"""


def until(condition, what, seconds=60.0):
    """Wait for something that must come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def lives(pid):
    """Tell whether a process lives; one that has ended may still be in the table, as a zombie."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.stdout.strip()[:1] not in ("", "Z")


def pids(folder):
    """Return the processes of the runs, two a run."""
    return [int(text) for file in folder.glob("*.pids") for text in file.read_text().split()]


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda s: s.name
)
def test_runs_and_what_they_started_end_with_their_starter(sent, tmp_path):
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as starter:
        until(lambda: len(pids(tmp_path)) == 4, "the runs did not begin")
        running = pids(tmp_path)
        assert all(map(lives, running))
        starter.send_signal(sent)
        assert starter.wait(60) == -sent
    until(lambda: not any(map(lives, running)), "a process was left behind")


@pytest.fixture
def program(monkeypatch):
    """Let runs be some Python."""

    def choose(code):
        monkeypatch.setattr(processes, "PROGRAM", (sys.executable, "-c", code))

    return choose


def test_a_run_ends_with_its_status_and_what_it_said(program, tmp_path):
    program("import sys; print('out', *sys.argv[1:]); sys.stderr.write('err'); sys.exit(2)")
    with Crew({}) as crew:
        crew.start("one", ["a", "b"], tmp_path / "one.log")
        assert len(crew) == 1
        ended = []
        until(lambda: ended.extend(crew.ended()) or ended, "the run did not end")
        assert ended == [("one", 2)]
        assert len(crew) == 0
    assert (tmp_path / "one.log").read_text() == "out a b\nerr"


def test_a_run_that_does_not_hear_is_killed(program, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "_PATIENCE", 0.1)
    program(
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    with Crew({}) as crew:
        crew.start("deaf", [str(tmp_path / "deaf.pids")], tmp_path / "deaf.log")
        until(lambda: pids(tmp_path), "the run did not begin")
    (deaf,) = pids(tmp_path)
    assert not lives(deaf)


def test_variables_of_the_user_win(program, monkeypatch, tmp_path):
    monkeypatch.setenv("CHOSEN", "by the user")
    program("import os; print(os.environ['CHOSEN'], os.environ['GIVEN'])")
    with Crew({"CHOSEN": "x", "GIVEN": "y"}) as crew:
        crew.start("one", [], tmp_path / "one.log")
        until(lambda: list(crew.ended()), "the run did not end")
    assert (tmp_path / "one.log").read_text() == "by the user y\n"


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "one.log").mkdir()
    with (
        Crew({}) as crew,
        pytest.raises(RunFolderError, match=r"one\.log could not be written: Is a directory"),
    ):
        crew.start("one", [], tmp_path / "one.log")
    assert len(crew) == 0
