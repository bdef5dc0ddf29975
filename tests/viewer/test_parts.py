"""What the page is made from, without a browser."""

import http.client
import shutil
import socket
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
from bokeh.document import Document
from hypothesis import given
from hypothesis import strategies as st
from tests.report.conftest import make_content
from tests.viewer.runs import write_run

from betis.cli import main
from betis.errors import ConfigError, InputError, RunFolderError
from betis.flags import Flag
from betis.io.row_files import RowArray
from betis.maps import make_maps
from betis.viewer.curves import curve_of, runs_of, sum_of
from betis.viewer.document import Viewer
from betis.viewer.map_figure import MapFigure
from betis.viewer.opened import open_run
from betis.viewer.quantities import catalogue, paint, with_flags
from betis.viewer.ranking import orders_of, ranked
from betis.viewer.server import make_server
from betis.viewer.stretch import STRETCHES, limits_of, stretch

FINITE = st.floats(-1e6, 1e6)


@pytest.fixture(scope="module")
def opened(run):
    return open_run(run[0])


def test_maps_are_those_of_the_pipeline(run, opened):
    content, quantities = run[1], catalogue(opened)
    maps = make_maps(content.bins, content.lines, content.continuum)
    for name in ("FLUX", "FLUX_ERR", "VELOCITY", "SIGMA", "EW", "SNR"):
        painted = paint(opened, quantities[f"line.{name.lower()}"], "NII6583")
        np.testing.assert_allclose(painted.image, maps.line(name, "NII6583"), rtol=1e-12)
    stars = paint(opened, quantities["stars.av"], "").image
    np.testing.assert_array_equal(stars, maps["STELLAR_AV"])


def test_every_quantity_can_be_painted_in_every_stretch(opened):
    shape = opened.bins.bin_id.shape
    for quantity in catalogue(opened).values():
        painted = paint(opened, quantity, "Ha6563", "Hα")
        assert painted.image.shape == shape
        assert np.isfinite(painted.image).any(), quantity.key
        if painted.names:
            assert np.nanmax(painted.image) < len(painted.names)
    for how in STRETCHES:
        values = paint(opened, catalogue(opened)["bins.snr"], "").image
        assert stretch(values, how, limits_of(values, 98)).ticks


def test_flags_are_mapped_and_filtered_by_name(run, opened):
    lines = run[1].lines
    painted = paint(opened, catalogue(opened)["line.flags"], "OI6300")
    flags = opened.bins.paint(lines.flags[:, lines.index("OI6300")], -1)
    assert painted.names[0] == "no flag"
    absent = painted.names.index("NOT_DETECTED")
    np.testing.assert_array_equal(painted.image == absent, flags == Flag.NOT_DETECTED)
    np.testing.assert_array_equal(painted.image == 0, flags == 0)
    chosen = with_flags(opened, "OI6300", ["NOT_DETECTED"])
    assert 0 < chosen.sum() < chosen.size
    np.testing.assert_array_equal(opened.bins.paint(chosen, blank=False), flags == 256)


@given(
    st.lists(FINITE, min_size=2, max_size=30),
    st.sampled_from(STRETCHES),
    st.floats(50, 100),
)
def test_a_stretch_keeps_the_order_and_the_ends(values, how, share):
    image = np.array([values])
    limits = limits_of(image, share)
    if how == "log" and (limits[1] <= 0 or image.max() <= 0):
        with pytest.raises(InputError, match="nothing here is positive"):
            stretch(image, how, limits)
        return
    shown = stretch(image, how, limits)
    order = np.argsort(values)
    inside = np.clip(shown.image[0][order], shown.low, shown.high)
    assert (np.diff(inside) >= -1e-9 * (shown.high - shown.low)).all()
    assert all(shown.low - 1e-9 <= tick <= shown.high + 1e-9 for tick in shown.ticks)


def test_signed_limits_are_symmetric_and_crossed_ones_refused(opened):
    image = paint(opened, catalogue(opened)["line.velocity"], "Ha6563").image
    low, high = limits_of(image, 98, signed=True)
    assert low == -high
    with pytest.raises(InputError, match="the limits are 3 and 1, where the first must be below"):
        stretch(image, "linear", (3.0, 1.0))


def test_the_sum_of_bins_is_the_sum_of_what_is_drawn_of_each(opened):
    one, two = (curve_of(opened.view(row)) for row in (3, 9))
    both = sum_of([one, two]).drawn
    np.testing.assert_array_equal(both.total, one.drawn.total + two.drawn.total)
    np.testing.assert_allclose(both.error**2, one.drawn.error**2 + two.drawn.error**2)
    np.testing.assert_array_equal(both.mask, one.drawn.mask | two.drawn.mask)
    np.testing.assert_allclose(both.residual, (both.flux - both.total) / both.error)


@given(marked=st.lists(st.booleans(), min_size=5, max_size=40))
def test_runs_of_pixels_hold_the_marked_ones_and_no_other(opened, marked):
    wave = 5000.0 + 1.5 * np.arange(len(marked))
    where = np.array(marked)
    drawn = replace(curve_of(opened.view(3)).drawn, wave=wave)
    low, high = (np.array(ends)[:, None] for ends in runs_of(drawn, where))
    np.testing.assert_array_equal(((wave > low) & (wave < high)).any(axis=0), where)


@pytest.mark.parametrize("order", ["line", "any", "stars", "snr"])
def test_the_worst_come_first_and_each_bin_once(opened, order):
    bins, values = ranked(opened, order, "Ha6563")
    assert len(set(bins)) == len(bins) == np.isfinite(values).sum()
    sign = 1 if order == "snr" else -1
    assert (np.diff(sign * values[bins]) >= 0).all()
    assert order in dict(orders_of(opened)["Worst first"])


def test_only_flagged_bins_are_stepped_through(run, opened):
    bins, _ = ranked(opened, "flag.AT_BOUND", "Ha6563")
    assert set(bins) == set(np.flatnonzero(run[1].continuum.flags & Flag.AT_BOUND))


def test_a_place_on_the_map_is_a_bin(run):
    bins = run[1].bins
    shown = MapFigure(bins)
    for y, x in np.argwhere(bins.bin_id >= -1)[::7]:
        for shift in (-0.49, 0.0, 0.49):
            assert shown.bin_at(x + shift, y - shift) == bins.bin_id[y, x]
    assert shown.bin_at(-0.6, 3) == shown.bin_at(3, bins.bin_id.shape[0] - 0.4) == -1


def test_no_more_than_the_rows_asked_for_are_read(run, opened, monkeypatch):
    taken, take = [], RowArray.take
    monkeypatch.setattr(RowArray, "take", lambda self, rows: taken.append(rows) or take(self, rows))
    viewer = Viewer(opened, Document())
    first = len(taken)
    viewer._choose([5])
    assert 0 < first == len(taken) - first
    assert all(rows.stop - rows.start == 1 for rows in taken)


def test_a_run_that_changed_under_the_page_says_so(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "galaxy")
    opened = open_run(folder)
    opened.view(3)
    write_run(tmp_path / "other")
    (tmp_path / "other" / "spectra.fits").replace(folder / "spectra.fits")
    with pytest.raises(RunFolderError, match="has changed since it was opened; reload the page"):
        opened.view(3)
    assert open_run(folder).view(3).row == 3


def test_what_is_of_other_bins_is_not_shown(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "galaxy")
    write_run(tmp_path / "other", make_content((8, 8), step=50.0))
    for name in ("lines.fits", "derived.fits"):
        (tmp_path / "other" / name).replace(folder / name)
    opened = open_run(folder)
    assert opened.lines is None
    assert opened.derived is None
    assert "lines.fits is of" in opened.missing[0]
    assert "`betis lines" in opened.missing[0]


def test_folders_without_a_run_are_refused(tmp_path, capsys):
    assert main(["view", str(tmp_path / "nowhere"), "--no-browser"]) == 2
    assert "there is no run folder" in capsys.readouterr().err
    assert main(["view", str(tmp_path), "--no-browser"]) == 2
    assert "holds no run (it has no config.toml)" in capsys.readouterr().err
    write_run(tmp_path / "new", without=["bins.fits"])
    with pytest.raises(RunFolderError, match=r"has no bins\.fits.*`betis bin "):
        open_run(tmp_path / "new")


def test_a_port_that_is_taken_is_refused(opened):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match=r"the port \d+ cannot be listened on .*--port"):
            make_server(opened, other.getsockname()[1])


def _status(address, path="/", **headers):
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.request("GET", path, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_its_own_page_is_answered_and_only_it_is_served(address):
    own = urlsplit(address).netloc
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol": "bokeh, none",
    }
    assert _status(address) == 200
    assert _status(address, Host="rebound.example:80") == 403
    assert _status(address, "/ws", **upgrade, Origin="http://elsewhere.example") == 403
    assert _status(address, "/ws", **upgrade, Origin=f"http://{own}") != 403
    for path in ("/spectra.fits", "/config.toml", "/static/../../../../etc/hostname"):
        assert _status(address, path) in {403, 404}
