"""Which components a set has in a fit: its own, and second ones of its emission lines."""

from __future__ import annotations

from dataclasses import replace

from betis.errors import ConfigError
from betis.linelist import Bounds, Line, LineSet
from betis.options import LineOptions

__all__ = ["SECOND", "with_components"]


SECOND = "second component"
"""The kinematics that the second components of a fit group share."""


def with_components(line_set: LineSet, options: LineOptions) -> LineSet:
    """Return the set with the components that a fit may have.

    ``Ha6563_2`` is the second one of ``Ha6563``, where these are asked for: at its place, with
    fluxes tied as those of the first are and not negative, and within the bounds of the options.
    One velocity and one dispersion hold for the second components of all lines that are fitted
    together. Components of lines that share theirs beyond their fit group would bend what all
    share, and are left out of the set.

    Raises
    ------
    ConfigError
        Where second ones are asked for of such lines.
    """
    chosen = line_set.kinematics if options.kinematics == "set" else options.kinematics
    is_shared = chosen in ("one", "ionisation")
    if options.components > 1 and is_shared:
        raise ConfigError(
            f"lines.components = 2 was asked for with lines.kinematics = {chosen!r}, where the "
            "lines of all fit groups share one velocity; choose set or free, or one component"
        )
    if is_shared:
        return line_set.select(line.name for line in line_set.lines if not line.component_of)
    if options.components == 1 or any(line.kinematics == SECOND for line in line_set.lines):
        return line_set
    first = [line for line in line_set.primary().lines if not line.absorption]
    names = {line.name for line in first}
    return replace(line_set, lines=(*line_set.lines, *(_second(line, names) for line in first)))


def _second(line: Line, names: set[str]) -> Line:
    tied = line.ratio_of in names
    return Line(
        name=f"{line.name}_2",
        air=line.air,
        label=f"{line.label} (2)",
        kinematics=SECOND,
        ratio_of=f"{line.ratio_of}_2" if tied else "",
        ratio=line.ratio if tied else 1.0,
        sign="emission",
        window=line.window,
        bounds=Bounds(velocity=line.bounds.velocity, sigma=line.bounds.sigma),
        source=line.source,
        component_of=line.name,
    )
