"""The base of a run: a list of STARLIGHT's with its spectra, or a base of betis written as one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from betis.arrays import F64
from betis.errors import InputError
from betis.io.run_folder import digest_file, digest_of
from betis.io.starlight.base import Component, base_text, parse_base, spectrum_text
from betis.io.starlight.files import read_text, write_text_plainly
from betis.io.templates import load_templates
from betis.options import ContinuumOptions, StarlightOptions
from betis.products import Templates
from betis.resampling import flux_conserving, linear_axis
from betis.starlight.names import plain
from betis.wavelength import pixel_edges, vacuum_to_air

__all__ = ["BaseFiles", "base_files"]

_MARGIN = 300.0
"""Angstrom by which a base that is written reaches beyond the data, where it does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseFiles:
    """A base as STARLIGHT reads it.

    Attributes
    ----------
    name, text
        Of the list.
    components
        Its rows.
    templates
        The spectra, in air.
    sources
        Where the spectra lie; None where they are written from the templates.
    """

    name: str
    text: str
    components: tuple[Component, ...]
    templates: Templates
    sources: tuple[Path, ...] | None

    @property
    def digest(self) -> str:
        """Digest of the list and of its spectra."""
        if self.sources is None:
            return digest_of(self.text, self.templates.wave.tolist(), self.templates.flux.tolist())
        return digest_of(self.text, [digest_file(path) for path in self.sources])

    @property
    def range(self) -> tuple[float, float]:
        """First and last wavelength, Angstrom in air."""
        return float(self.templates.wave[0]), float(self.templates.wave[-1])

    def write(self, folder: Path, list_folder: Path) -> None:
        """Write the list, and its spectra into a folder."""
        write_text_plainly(list_folder / self.name, self.text)
        for row, component in enumerate(self.components):
            if self.sources is None:
                text = spectrum_text(self.templates.wave, self.templates.flux[row])
            else:
                text = read_text(self.sources[row], "the spectrum of the base")
            write_text_plainly(folder / component.file, text)


def base_files(
    options: StarlightOptions, continuum: ContinuumOptions, wave: Float[F64, " wave"]
) -> BaseFiles:
    """Return the base that the options name.

    Parameters
    ----------
    options
        ``base`` and ``base_dir``; where no base is given ``continuum.templates`` is written as one.
    continuum
        That.
    wave : Angstrom
        Of the data, in air at rest; a base that is written has just what they need.

    Raises
    ------
    InputError
        Where the list or a spectrum is missing, or cannot be read.
    """
    if not options.base:
        return _written(load_templates(continuum.templates), wave)
    path = Path(options.base)
    folder = Path(options.base_dir) if options.base_dir else path.parent
    text = read_text(path, "the base list")
    components = parse_base(text, f"the base list {path}")
    return BaseFiles(
        name=plain(path.name),
        text=text,
        components=tuple(components),
        templates=load_templates(path, spectra_dir=folder),
        sources=tuple(folder / component.file for component in components),
    )


def _written(templates: Templates, wave: Float[F64, " wave"]) -> BaseFiles:
    near = _in_air(templates, wave)
    stem = plain(templates.name)[:16]
    components = tuple(
        Component(
            file=f"{stem}_{row + 1:03d}.spec",
            age=float(near.age[row]),
            metallicity=float(near.metallicity[row]),
            code=f"{stem}_{row + 1:03d}"[-16:],
            mass_fraction=float(near.mass_fraction[row]),
        )
        for row in range(near.n_template)
    )
    return BaseFiles(
        name=f"Base.{stem}",
        text=base_text(components),
        components=components,
        templates=near,
        sources=None,
    )


def _in_air(templates: Templates, wave: Float[F64, " wave"]) -> Templates:
    """Return a base near the data on a linear axis in air, its flux conserved."""
    is_air = templates.medium == "air"
    air = templates.wave if is_air else vacuum_to_air(templates.wave)
    near = (air >= wave[0] - _MARGIN) & (air <= wave[-1] + _MARGIN)
    if near.sum() < 2:
        raise InputError(
            f"the base {templates.name!r} spans {air[0]:.0f} to {air[-1]:.0f} Angstrom and the "
            f"spectra {wave[0]:.0f} to {wave[-1]:.0f} Angstrom at rest, so that they have nothing "
            "in common; check the redshift or take another base"
        )
    edges = pixel_edges(air[near])
    axis = linear_axis(air[near], edges, 1.0)
    operator = flux_conserving(edges, axis.edges)
    return Templates(
        wave=axis.wave,
        flux=np.asarray((operator @ templates.flux[:, near].T).T),
        age=templates.age,
        metallicity=templates.metallicity,
        mass_fraction=templates.mass_fraction,
        medium="air",
        fwhm=np.interp(axis.wave, air, templates.fwhm),
        name=templates.name,
        source=templates.source,
    )
