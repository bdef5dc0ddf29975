"""A fit group with a component more, in some spectra: what is its own, and what its lines'."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from betis.arrays import B8, F64, Index
from betis.lines.descent import take_rows
from betis.lines.groups import GroupClass
from betis.lines.model import Problem
from betis.lines.screen import Gain, Residual, some_rows

__all__ = ["Trial", "sets_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One group with its component in some spectra.

    Attributes
    ----------
    kind
        The group with the component.
    spectra : [row]
        Which spectra.
    rows, scale, start
        Its problems, as in `Solved`.
    guess : [row, param]
        Starts with all lines but the component where they were first looked for.
    before
        The fit without the component.
    elder : [line]
        For lines of the component, which line of the group they are one of; -1 for others.
    is_own : [line]
        Which lines are the component's.
    is_second
        Whether the component is one of all emission lines, and the broader one.
    """

    kind: GroupClass
    spectra: Index
    rows: Problem
    scale: Float[F64, " row"]
    start: Float[F64, "row param"]
    guess: Float[F64, "row param"]
    before: Residual
    elder: Index
    is_own: Bool[B8, " line"]
    is_second: bool = False

    def some(self, picked: Bool[B8, " row"]) -> Trial:
        """Return the trial in some of its spectra."""
        index = np.flatnonzero(picked)
        return replace(
            self,
            spectra=self.spectra[index],
            rows=take_rows(self.rows, index),
            scale=self.scale[index],
            start=self.start[index],
            guess=self.guess[index],
            before=some_rows(self.before, index),
        )

    def started(self, gain: Gain) -> Trial:
        """Return the trial with the component where the filter found it."""
        at = gain.velocity, gain.width
        return replace(self, start=self.placed(self.start, *at), guess=self.placed(self.guess, *at))

    def placed(
        self, params: Float[F64, "row param"], velocity: F64, width: F64
    ) -> Float[F64, "row param"]:
        """Return parameters with the component at a velocity and a width of each row, km/s."""
        placed, own = params.copy(), self.kind.n_flux + sets_of(self.kind, self.is_own)
        placed[:, own] = velocity[:, None]
        placed[:, own + self.kind.n_kin] = width[:, None]
        return placed

    def is_held(
        self, params: Float[F64, "row param"], is_seen: Bool[B8, "row line"]
    ) -> Bool[B8, " row"]:
        """Tell where a bound has made the component what it is.

        Its own, or the upper one of the width of any line that is seen: what a line may not be, a
        component beside it would be in its place.
        """
        n_flux, n_kin = self.kind.n_flux, self.kind.n_kin
        own, first = sets_of(self.kind, self.is_own), sets_of(self.kind, self.elders)
        low, high = params <= self.rows.lower, params >= self.rows.upper
        ended = (low | high)[:, n_flux + np.union1d(own, first)].any(axis=1)
        ended |= (low | high)[:, n_flux + n_kin + own].any(axis=1)
        seen = is_seen.astype(float) @ self.kind.kinematics[0] > 0
        ended |= (high[:, n_flux + n_kin : -2] & seen).any(axis=1)
        return np.asarray(ended)

    def in_order(self, params: Float[F64, "row param"], share: float = 1.0) -> Bool[B8, " row"]:
        """Tell where the second component has a share of the first ones' squared dispersion.

        True where there is no second one.
        """
        if not self.is_second:
            return np.ones(len(params), bool)
        own = sets_of(self.kind, self.is_own)
        _, first = self._mean(params)
        return np.asarray(~(self._squares(params)[:, own[0]] < share * first))

    def exchanged(self, params: Float[F64, "row param"]) -> Float[F64, "row param"]:
        """Return the parameters with the second component in the place of the first."""
        changed, n_flux, n_kin = params.copy(), self.kind.n_flux, self.kind.n_kin
        for mine in np.flatnonzero(self.is_own):
            pair = [int(np.argmax(self.kind.ratio[0, i] != 0)) for i in (mine, self.elder[mine])]
            changed[:, pair] = params[:, pair[::-1]]
        own, first = sets_of(self.kind, self.is_own)[0], sets_of(self.kind, self.elders)
        velocity, square = self._mean(params)
        sharp = self.kind.reference[0] ** 2
        changed[:, n_flux + own] = velocity
        changed[:, n_flux + n_kin + own] = np.sqrt(np.maximum(square + sharp[own], 1.0))
        moved = self._squares(params)[:, [own]] + sharp[first]
        changed[:, n_flux + first] = params[:, [n_flux + own]]
        changed[:, n_flux + n_kin + first] = np.sqrt(np.maximum(moved, 1.0))
        return changed

    @property
    def elders(self) -> Bool[B8, " line"]:
        """Tell the lines that have the component."""
        return np.isin(np.arange(self.elder.size), self.elder[self.is_own])

    def _squares(self, params: Float[F64, "row param"]) -> Float[F64, "row kin"]:
        """Return the squared dispersions without the line-spread function."""
        width = params[:, self.kind.n_flux + self.kind.n_kin : -2]
        return np.asarray(width**2 - self.kind.reference[0] ** 2)

    def _mean(self, params: Float[F64, "row param"]) -> tuple[F64, F64]:
        """Return velocity and squared dispersion of the first components, weighted by flux."""
        n_flux, n_kin = self.kind.n_flux, self.kind.n_kin
        lines = np.flatnonzero(self.elders)
        flux = np.maximum(params[:, :n_flux] @ self.kind.ratio[0, lines].T, 1e-9)
        weight = flux @ self.kind.kinematics[0, lines] / flux.sum(axis=1)[:, None]
        velocity = params[:, n_flux : n_flux + n_kin]
        return np.sum(weight * velocity, axis=1), np.sum(weight * self._squares(params), axis=1)


def sets_of(kind: GroupClass, lines: Bool[B8, " line"]) -> Index:
    """Return the kinematic sets of some lines."""
    return np.flatnonzero(kind.kinematics[0, lines].sum(axis=0) > 0)
