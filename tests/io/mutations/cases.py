"""Every mutation in every layout where it makes sense, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from tests.io.mutations.changes import Change
from tests.io.mutations.settings import Setting, Truth

Stage = Literal["prepare", "snr", "bin"]

NAMES = (
    "muse",
    "manga",
    "manga, linear",
    "califa",
    "sami",
    "sami, two arms",
    "kcwi",
    "kcwi, three files",
    "generic",
)
ARMS = ("sami, two arms",)
WITH_ERROR = tuple(name for name in NAMES if name != "kcwi, three files")
WITH_MASK = ("muse", "manga", "manga, linear", "califa", "kcwi", "generic")
WITHOUT_DEFAULT_MEDIUM = ("kcwi", "kcwi, three files", "generic")
WITH_ERROR_AXIS = ("muse", "manga", "manga, linear", "kcwi", "generic")
IN_PRIMARY = ("califa", "sami", "sami, two arms", "kcwi", "kcwi, three files")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A change to the file of a setting: what becomes of the truth, or what is said.

    Attributes
    ----------
    truth
        Of a file that must be read: what the cube then holds.
    rtol
        To which its fluxes and errors must be right.
    sentence
        Of a file that must be refused: what its sentence has in it, a regular expression.
    stage
        The stage that refuses it; "prepare" where nothing at all may be written.
    told
        Of a file of which it cannot be known: what `inspect` must say, a regular expression.
    words
        Arguments of the command line after those of the setting.
    """

    setting: str
    name: str
    change: Change
    truth: Callable[[Truth, Setting], Truth] | None = None
    rtol: float = 1e-6
    sentence: str = ""
    stage: Stage = "prepare"
    told: str = ""
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.setting}: {self.name}"


def as_it_was(truth: Truth, _: Setting) -> Truth:
    return truth


def without_unit(truth: Truth, _: Setting) -> Truth:
    return replace(truth, scale=0.0)


def bad_at(where: tuple) -> Callable[[Truth, Setting], Truth]:
    """Return what marks these voxels of the changed file bad."""

    def marked(truth: Truth, setting: Setting) -> Truth:
        bad = np.zeros(truth.flux.shape, bool)
        bad[setting.part][where] = True
        return truth.marked(bad)

    return marked


def flux_at(where: tuple, value: float) -> Callable[[Truth, Setting], Truth]:
    """Return what gives these voxels of the changed file another flux."""

    def changed(truth: Truth, setting: Setting) -> Truth:
        flux = truth.flux.copy()
        flux[setting.part][where] = value
        return replace(truth, flux=flux)

    return changed


def read(
    name: str,
    change: Change,
    truth: Callable[[Truth, Setting], Truth] = as_it_was,
    *,
    names: tuple[str, ...] = NAMES,
    but: tuple[str, ...] = (),
    rtol: float = 1e-6,
) -> Iterator[Case]:
    """Yield cases that are read as if nothing were wrong, or nothing but what was marked."""
    for setting in names:
        if setting not in but:
            yield Case(setting=setting, name=name, change=change, truth=truth, rtol=rtol)


def refused(
    name: str,
    change: Change,
    sentence: str,
    *,
    names: tuple[str, ...] = NAMES,
    but: tuple[str, ...] = (),
    stage: Stage = "prepare",
    words: tuple[str, ...] = (),
) -> Iterator[Case]:
    """Yield cases that end in one sentence."""
    for setting in names:
        if setting not in but:
            yield Case(
                setting=setting,
                name=name,
                change=change,
                sentence=sentence,
                stage=stage,
                words=words,
            )


def told(
    name: str,
    change: Change,
    said: str,
    *,
    names: tuple[str, ...] = NAMES,
    but: tuple[str, ...] = (),
) -> Iterator[Case]:
    """Yield cases of which nobody can know, but of which `inspect` must tell."""
    for setting in names:
        if setting not in but:
            yield Case(setting=setting, name=name, change=change, told=said)
