"""Kill runs at random moments, let them go on, and compare with a run that nothing has happened to.

Run with ``python benchmarks/kills.py [seed]``. The galaxy of ``betis demo``, a row a spaxel so that
the fits have several blocks. First the run itself is killed 20 times (``kill -9``), on its way
through all stages: at a random moment of a stage, or before a random one of the files that the
stage writes. Then runs on two Dask workers whose workers are killed, 5 times. Every product has to
be that of the undisturbed run to the last bit, dates aside, and nothing else may be left. Exits
with status 1 where something is not so.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
from astropy.io import fits

from betis.mock import MockOptions, make_galaxy, write_cube

_RUN = "import sys; from betis.cli import main; sys.exit(main(sys.argv[1:]))"
_OPTIONS = ("-z", "0.01", "--binning", "spaxel")
_STAGES = ("noise", "snr", "bin", "stack", "continuum", "lines", "maps", "derived", "report")
_LONG = ("continuum", "lines")
_REFUSED = 2
"""Exit status of a run that ends with a plain sentence, as where its workers die as they start."""
_PRODUCTS = dict(zip(_STAGES, (
    *("noise.fits", "snr.fits", "bins.fits", "spectra.fits", "continuum.fits", "lines.fits"),
    *("maps.fits", "derived.fits", "report.html"),
), strict=True))  # fmt: skip
_WRITES = {stage: (5, 10) if stage in _LONG else (5, 7) for stage in _STAGES} | {"noise": (4, 6)}
"""Of the files that a process writes, by number, those of its first stage."""
_DATED = ("CHECKSUM", "DATASUM", "DATE", "", "COMMENT", "HISTORY")


class Running:
    """A run under way, in a process of its own, whose stages are followed as it prints them."""

    def __init__(self, arguments, faults=""):
        environment = {**os.environ, "BETIS_FAULTS": faults, "PYTHONUNBUFFERED": "1"}
        self.started = time.perf_counter()
        self.said, self.ends = [], {}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RUN, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        with self.process.stdout as lines:
            for line in iter(lines.readline, ""):
                self.said.append(line)
                self.ends[line.split(" ")[0]] = self.age

    @property
    def seconds(self):
        """How long each stage took, the first from the start of the process on."""
        ends = [0.0, *(self.ends[stage] for stage in _STAGES)]
        return dict(zip(_STAGES, np.diff(ends), strict=True))

    @property
    def age(self):
        """How long ago it was started, in s."""
        return time.perf_counter() - self.started

    def wait_for(self, stage):
        """Wait until a stage begins, or until the end."""
        before = set(_STAGES[: _STAGES.index(stage)])
        while self.process.poll() is None and before - set(self.ends):
            time.sleep(0.01)

    def killed(self):
        """Kill it where it is, if it has not ended; return how it ended."""
        self.process.send_signal(signal.SIGKILL)
        return self.ended()

    def ended(self):
        """Wait for its end; return how it ended."""
        status = self.process.wait()
        self._reader.join()
        return status

    def require_done(self):
        """Wait for its end, which has to be a good one."""
        if self.ended():
            raise SystemExit(f"the run ended with {self.process.returncode}:\n{''.join(self.said)}")


def content(path):
    """Return what a FITS file holds, its header's dates aside."""
    with fits.open(path) as hdus:
        cards = [
            {key: value for key, value in hdu.header.items() if key not in _DATED} for hdu in hdus
        ]
        return cards, [None if hdu.data is None else np.array(hdu.data).tobytes() for hdu in hdus]


def differing(folder, undisturbed):
    """Return which products that are there are not those of the undisturbed run."""
    present = sorted(folder.glob("*.fits"))
    bad = [path.name for path in present if content(path) != content(undisturbed / path.name)]
    return [f"{name} differs" for name in bad]


def told(folder):
    """Return what the user was warned of."""
    return json.loads((folder / "provenance.json").read_text())["warnings"]


def faults_of(folder, undisturbed):
    """Return all that is not as in the undisturbed run."""
    missing = [file for file in _PRODUCTS.values() if not (folder / file).exists()]
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return [
        *differing(folder, undisturbed),
        *(f"{name} is missing" for name in missing),
        *(f"{name} is left over" for name in left),
        *(["other warnings"] if told(folder) != told(undisturbed) else []),
    ]


def stage_of(folder):
    """Return the first stage whose product is not there yet."""
    absent = (stage for stage, file in _PRODUCTS.items() if not (folder / file).exists())
    return next(absent, "end")


def planned(rng):
    """Yield how the run is killed: a stage, and a share of its time or the number of a file."""
    for stage in _STAGES:
        for _ in range(3 if stage == "continuum" else 1):
            yield stage, float(rng.uniform(0.0, 0.9)), 0
        yield stage, 0.0, int(rng.integers(*_WRITES[stage]))


def kill_once(arguments, seconds, stage, share, write):
    """Kill a run as planned; return after how long, and how."""
    running = Running(arguments, f"write:{write} kill" if write else "")
    if write:
        status = running.ended()
    else:
        running.wait_for(stage)
        time.sleep(share * seconds[stage])
        status = running.killed()
    how = f"before its file {write}" if write else f"{100 * share:.0f} % into {stage}"
    return running.age, how if status == -signal.SIGKILL else f"not: it ended with {status}"


def kill_the_run(cube, folder, undisturbed, seconds, rng):
    """Kill a run again and again, then let it end; return what is wrong."""
    arguments, wrong, hit = ["run", cube, *_OPTIONS, "-o", folder], [], set()
    print("  kill   moment  stage      how                 products so far")
    for number, plan in enumerate(planned(rng), 1):
        moment, how = kill_once(arguments, seconds, *plan)
        bad, stage = differing(folder, undisturbed), stage_of(folder)
        print(f"{number:6d} {moment:6.1f} s  {stage:9}  {how:18}  {said_of(bad)}", flush=True)
        wrong += bad
        hit.add(stage)
    Running(arguments).require_done()
    wrong += faults_of(folder, undisturbed)
    print(f"at the end: {said_of(wrong)}; never hit: {', '.join(set(_STAGES) - hit) or 'no stage'}")
    return wrong


def sizes_of(folder):
    """Return in words what the products of a run take on disk, a row or spaxel."""
    n_row, n_wave = fits.getdata(folder / "spectra.fits", "FLUX").shape
    files = sorted(folder.glob("*.fits"))
    said = [f"{path.stem} {path.stat().st_size / n_row / 1e3:.1f} kB" for path in files]
    return f"{n_row} rows of {n_wave} pixels, a row: {', '.join(said)}"


def said_of(wrong):
    """Return in words what is wrong."""
    return "; ".join(wrong) or "the same"


def workers_of(process):
    """Return the processes that fit for a run, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            is_worker = parent == process and "spawn_main" in (entry / "cmdline").read_text()
        except (OSError, IndexError, ValueError):  # no process, or one that has ended
            continue
        if is_worker:
            found.append(int(entry.name))
    return sorted(found)


def kill_a_worker(running, folder, stage, delay, rng):
    """Kill one of the workers at some moment of a stage; return what to print of it."""
    running.wait_for(stage)
    while running.process.poll() is None and not workers_of(running.process.pid):
        time.sleep(0.05)
    time.sleep(delay)
    moment, workers = running.age, workers_of(running.process.pid)
    if not workers:
        return f"{moment:6.1f} s  {stage_of(folder):9}  none there"
    with suppress(ProcessLookupError):
        os.kill(int(rng.choice(workers)), signal.SIGKILL)
    return f"{moment:6.1f} s  {stage_of(folder):9}"


def kill_workers(cube, folder, undisturbed, seconds, rng):
    """Kill workers of three runs, at most one a stage; return what is wrong.

    Of a block that takes two workers with it the run makes smaller ones, and these need not agree
    to the last bit: hence one a stage.
    """
    numbers, wrong = count(1), []
    print("  kill   moment  stage       all products")
    for stages in (_LONG, _LONG, ("lines",)):
        shutil.copytree(undisturbed, folder)
        for name in (*stages, "maps", "derived"):
            (folder / f"{name}.fits").unlink()
        arguments = ["run", cube, *_OPTIONS, "--dask", "local:2", "-o", folder]
        running = Running(arguments)
        lines = [
            f"{next(numbers):6d} {kill_a_worker(running, folder, stage, delay, rng)}"
            for stage in stages
            for delay in [float(rng.uniform(0.0, 0.9)) * seconds[stage]]
        ]
        again = running.ended() == _REFUSED
        (Running(arguments) if again else running).require_done()
        bad = faults_of(folder, undisturbed)
        print("\n".join(f"{line}  {said_of(bad)}{', run again' * again}" for line in lines))
        wrong += bad
        shutil.rmtree(folder)
    return wrong


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        cube, undisturbed = Path(scratch) / "galaxy.fits", Path(scratch) / "undisturbed"
        write_cube(make_galaxy(MockOptions()), cube)
        first = Running(["run", cube, *_OPTIONS, "-o", undisturbed])
        first.require_done()
        print(f"seed {seed}; undisturbed: {first.age:.0f} s; {sizes_of(undisturbed)}")
        print("\nthe run itself is killed:")
        wrong = kill_the_run(cube, Path(scratch) / "killed", undisturbed, first.seconds, rng)
        print("\nworkers of --dask local:2 are killed:")
        lost = kill_workers(cube, Path(scratch) / "dask", undisturbed, first.seconds, rng)
    print(f"\n{time.perf_counter() - started:.0f} s")
    raise SystemExit(1 if wrong or lost else 0)


if __name__ == "__main__":
    main()
