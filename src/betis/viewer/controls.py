"""The controls of the page: widgets, and what they ask for in plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bokeh.models import (
    Button,
    Checkbox,
    Div,
    MultiChoice,
    NumericInput,
    RadioButtonGroup,
    Select,
    Widget,
)

from betis.flags import Flag
from betis.viewer.curves import WHOLE
from betis.viewer.map_figure import COLOR_MAPS
from betis.viewer.opened import OpenedRun
from betis.viewer.quantities import Quantity
from betis.viewer.ranking import orders_of
from betis.viewer.stretch import STRETCHES

__all__ = ["BinControls", "MapControls"]

GIVEN = "given"
_SHARES = {"100": "all values", "99.5": "99.5 %", "99": "99 %", "98": "98 %", "95": "95 %",
           "90": "90 %", GIVEN: "as given"}  # fmt: skip
_FIRST = ("line.flux", "stars.velocity", "bins.snr")
_FIRST_LINES = ("Ha6563", "Hb4861", "OIII5007")
_BRIGHT = ("line.flux", "spaxels.signal", "spaxels.continuum", "derived.SIGMA_HA")
"""Quantities that begin in an asinh stretch."""
_WIDE: dict[str, Any] = {"sizing_mode": "stretch_width"}

Change = Callable[[], None]


class MapControls:
    """What the map shows, and how.

    Parameters
    ----------
    run
        The run.
    quantities
        What can be mapped, by key.
    changed
        Called when the map has to be drawn anew.
    """

    def __init__(self, run: OpenedRun, quantities: dict[str, Quantity], changed: Change) -> None:
        self._changed, self._quantities, self._quiet = changed, quantities, False
        key = next((key for key in _FIRST if key in quantities), next(iter(quantities)))
        self._quantity: Any = Select(
            title="Map of", value=key, options=_by_room(quantities.values()), name="quantity",
            **_WIDE,
        )  # fmt: skip
        names = run.lines.names if run.lines is not None else ()
        self.labels = _labels(run, names)
        chosen = next((n for n in _FIRST_LINES if n in names), names[0] if names else "")
        self._line: Any = Select(
            title="Line", value=chosen, options=list(self.labels.items()), name="line", **_WIDE
        )
        self._make_looks()
        hidden = ["NOT_DETECTED"] if names else []
        self._flags: Any = MultiChoice(
            title="Bins with a flag", value=hidden, options=[str(flag.name) for flag in Flag],
            placeholder="none chosen", name="flags", **_WIDE,
        )  # fmt: skip
        self._filter: Any = RadioButtonGroup(
            labels=["leave them out", "show only them"], active=0, name="filter", **_WIDE
        )
        self._listen()

    def _make_looks(self) -> None:
        self._stretch: Any = Select(
            title="Stretch",
            value="asinh" if self.quantity.key in _BRIGHT else STRETCHES[0],
            options=list(STRETCHES),
            name="stretch",
            **_WIDE,
        )
        self._share: Any = Select(
            title="Limits", value="98", options=list(_SHARES.items()), name="share", **_WIDE
        )
        number: dict[str, Any] = {"mode": "float", "format": "0.[0000]", **_WIDE}
        self._low: Any = NumericInput(title="from", name="low", **number)
        self._high: Any = NumericInput(title="to", name="high", **number)
        self._colors: Any = Select(
            title="Colours", value=COLOR_MAPS[0], options=list(COLOR_MAPS), name="colors", **_WIDE
        )

    def _listen(self) -> None:
        for widget in (self._line, self._stretch, self._share, self._colors, self._flags):
            widget.on_change("value", _when_changed(self._tell))
        self._quantity.on_change("value", _when_changed(self._choose_quantity))
        self._filter.on_change("active", _when_changed(self._tell))
        for widget in (self._low, self._high):
            widget.on_change("value", _when_changed(self._give_limits))

    @property
    def widgets(self) -> list[Widget]:
        """All of them."""
        return [self._quantity, self._line, self._stretch, self._share, self._low, self._high,
                self._colors, self._flags, self._filter]  # fmt: skip

    @property
    def quantity(self) -> Quantity:
        """What is to be mapped."""
        return self._quantities[self._quantity.value]

    @property
    def line(self) -> str:
        """The line that is meant; "" where the run has none."""
        return str(self._line.value)

    @property
    def stretch(self) -> str:
        """One of `STRETCHES`."""
        return str(self._stretch.value)

    @property
    def colors(self) -> str:
        """The name of the colour map."""
        return str(self._colors.value)

    @property
    def share(self) -> float | None:
        """Per cent of the values that the limits hold; None where they are given."""
        value = self._share.value
        return None if value == GIVEN else float(value)

    @property
    def limits(self) -> tuple[float, float]:
        """What stands in the fields of the limits; NaN for nothing."""
        return tuple(  # type: ignore[return-value]
            float("nan") if field.value is None else float(field.value)
            for field in (self._low, self._high)
        )

    def write_limits(self, low: float, high: float) -> None:
        """Write limits into their fields."""
        with self._silence():
            self._low.value, self._high.value = float(f"{low:.4g}"), float(f"{high:.4g}")

    @property
    def flags(self) -> list[str]:
        """Names of the flags that bins are filtered by."""
        return list(self._flags.value)

    @property
    def only_flagged(self) -> bool:
        """Whether the bins with these flags are shown, and not those without."""
        return bool(self._filter.active == 1)

    def _choose_quantity(self) -> None:
        """Begin a signed quantity in colours that diverge, and with limits of its own."""
        with self._silence():
            diverging = self._colors.value == "RdBu_r"
            if self.quantity.signed != diverging:
                self._colors.value = "RdBu_r" if self.quantity.signed else COLOR_MAPS[0]
            self._stretch.value = "asinh" if self.quantity.key in _BRIGHT else STRETCHES[0]
            if self._share.value == GIVEN:
                self._share.value = "98"
            self._line.disabled = not self.quantity.per_line
        self._tell()

    def _give_limits(self) -> None:
        if not self._quiet:
            with self._silence():
                self._share.value = GIVEN
            self._tell()

    def _tell(self) -> None:
        if not self._quiet:
            self._changed()

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Change widgets without being called for it."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


class BinControls:
    """Which bins are looked at, and how.

    Parameters
    ----------
    run
        The run.
    go
        Called with the number of a bin.
    step
        Called with how far to go in the order chosen.
    changed
        Called when the spectra have to be drawn anew.
    """

    def __init__(
        self, run: OpenedRun, go: Callable[[int], None], step: Callable[[int], None],
        changed: Change,
    ) -> None:  # fmt: skip
        self._quiet = False
        self.bin: Any = NumericInput(
            title="Bin", mode="int", low=0, high=run.bins.n_bin - 1, name="bin", **_WIDE
        )
        orders = orders_of(run)
        first = next(iter(orders.values()))[0][0]
        self._order: Any = Select(
            title="Step through", value=first, options=orders, name="order", **_WIDE
        )
        self.back: Any = Button(label="◀", name="back", **_WIDE)
        self.on: Any = Button(label="▶", name="on", **_WIDE)
        self.place = Div(text="", name="place", **_WIDE)
        self._zoom: Any = Select(
            title="Zoom to", value=str(WHOLE), options=[(str(WHOLE), "the whole spectrum")],
            name="zoom", **_WIDE,
        )  # fmt: skip
        self._several: Any = RadioButtonGroup(
            labels=["overplotted", "summed"], active=0, name="several", **_WIDE
        )
        self._every: Any = Checkbox(label="all lines", active=False, name="every")
        self._listen(go, step, changed)

    def _listen(
        self, go: Callable[[int], None], step: Callable[[int], None], changed: Change
    ) -> None:
        def chosen() -> None:
            if self.bin.value is not None and not self._quiet:
                go(int(self.bin.value))

        def told() -> None:
            if not self._quiet:
                changed()

        self.bin.on_change("value", _when_changed(chosen))
        self.back.on_click(lambda _: step(-1))
        self.on.on_click(lambda _: step(+1))
        self._order.on_change("value", _when_changed(lambda: step(0)))
        self._zoom.on_change("value", _when_changed(told))
        self._several.on_change("active", _when_changed(told))
        self._every.on_change("active", _when_changed(told))

    @property
    def widgets(self) -> list[Widget]:
        """All of them."""
        return [self.bin, self._order, self.back, self.on, self.place, self._zoom, self._several,
                self._every]  # fmt: skip

    @property
    def order(self) -> str:
        """A key of `betis.viewer.ranking.orders_of`."""
        return str(self._order.value)

    @property
    def group(self) -> int:
        """The fit group to zoom to, or `WHOLE`."""
        return int(self._zoom.value)

    @property
    def summed(self) -> bool:
        """Whether several bins are summed rather than drawn over each other."""
        return bool(self._several.active == 1)

    @property
    def every_line(self) -> bool:
        """Whether the table has fits without a detected line."""
        return bool(self._every.active)

    def write(self, row: int, zooms: Sequence[tuple[int, str]], *, several: bool) -> None:
        """Write which bin is shown, and what can be zoomed to."""
        self._quiet = True
        self.bin.value = row
        self._several.disabled = not several
        options = [(str(group), label) for group, label in zooms]
        if self._zoom.options != options:
            self._zoom.options = options
            if self._zoom.value not in dict(options):
                self._zoom.value = str(WHOLE)
        self._quiet = False

    def zoom_to(self, group: int) -> None:
        """Choose the fit group to zoom to, without being called for it."""
        self._quiet = True
        if str(group) in dict(self._zoom.options):
            self._zoom.value = str(group)
        self._quiet = False


def _when_changed(what: Change) -> Callable[[str, Any, Any], None]:
    """Return a callback in bokeh's form."""

    def callback(_attr: str, _old: Any, _new: Any) -> None:
        what()

    return callback


def _by_room(quantities: Any) -> dict[str, list[tuple[str, str]]]:
    rooms: dict[str, list[tuple[str, str]]] = {}
    for quantity in quantities:
        rooms.setdefault(quantity.room, []).append((quantity.key, quantity.label))
    return rooms


def _labels(run: OpenedRun, names: Sequence[str]) -> dict[str, str]:
    """Return what lines are called on the page; a second component after its line."""
    if run.rows is None:
        return {}
    known = {line.name: line.label for line in run.rows.line_set.lines}
    labels = {}
    for name in names:
        base, _, number = name.rpartition("_")
        labels[name] = known.get(name) or f"{known.get(base, base)} ({number})"
    return labels
