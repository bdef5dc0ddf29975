"""The page in a real browser, driven as a reader would drive it."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from tests.report.conftest import make_content
from tests.viewer.runs import write_run

from betis.flags import Flag


def spaxel_of(content, row):
    """Return x and y of a spaxel of a bin."""
    y, x = np.argwhere(content.bins.bin_id == row)[0]
    return int(x), int(y)


def drawn_flux(page):
    found = page.column("flux", "Step", "flux")
    return np.array(found[0] if found else [], dtype=float)


def flux_of(content, row):
    return np.where(content.spectra.mask[row], np.nan, content.spectra.flux[row])


def rows_of(download):
    return list(csv.DictReader(io.StringIO(Path(download.path()).read_text("utf-8"))))


def test_a_click_shows_the_spectrum_of_the_bin(open_page, address, run):
    _, content = run
    page = open_page(address)
    for row in (7, 14):
        page.click(*spaxel_of(content, row))
        page.title(f"Bin {row}")
        page.until(lambda row=row: np.array_equal(drawn_flux(page), flux_of(content, row), True))
        shown = page.page.locator("tr", has_text="Ha6563").inner_text()
        snr = f"{content.lines.snr[row, content.lines.index('Ha6563')]:.1f}"
        assert snr in shown
    page.click(-0.4, -0.4)
    assert page.page.get_by_label("Bin", exact=True).input_value() == "14"


def test_another_line_and_quantity_are_mapped(open_page, address, run):
    _, content = run
    page = open_page(address)

    def shown():
        return np.array(page.column("map", "Image", "value")[0][0], dtype=float)

    for quantity, label, line, values in (
        ("Flux per spaxel", "Hβ", "Hb4861", content.lines.flux / content.bins.n_spaxel[:, None]),
        ("Velocity", "Hα", "Ha6563", content.lines.velocity),
        ("Equivalent width", "[O III] 5007", "OIII5007", content.lines.ew),
    ):
        page.choose("Map of", quantity)
        page.choose("Line", label)
        expected = content.bins.paint(values[:, content.lines.index(line)]).ravel()
        page.until(
            lambda expected=expected: np.allclose(
                shown(), expected, rtol=1e-5, atol=1e-6, equal_nan=True
            )
        )


def test_several_bins_are_overplotted_and_summed(open_page, address, run):
    _, content = run
    page = open_page(address)
    page.click(*spaxel_of(content, 7))
    page.title("Bin 7")
    page.click(*spaxel_of(content, 14), "Shift")
    page.title("Bins 7, 14")
    page.until(lambda: len(page.column("flux", "MultiLine", "flux")[0]) == 2)
    page.press("summed")
    page.until(
        lambda: np.array_equal(
            drawn_flux(page), flux_of(content, 7) + flux_of(content, 14), equal_nan=True
        )
    )
    assert "nothing was fitted to the sum" in page.page.locator("h2 ~ p").inner_text()
    page.click(*spaxel_of(content, 7), "Shift")
    page.title("Bin 14")


def test_the_worst_fits_are_stepped_through(open_page, address, run):
    _, content = run
    page = open_page(address)
    page.choose("Step through", "highest χ² of the stars")
    order = np.argsort(-content.continuum.chi2 / content.continuum.dof, kind="stable")
    page.title(f"Bin {order[0]}")
    page.press("▶")
    page.title(f"Bin {order[1]}")
    page.click(*spaxel_of(content, order[5]))
    page.title(f"Bin {order[5]}")
    page.press("▶")
    page.title(f"Bin {order[2]}")
    page.choose("Step through", "AT_BOUND")
    flagged = np.flatnonzero(content.continuum.flags & Flag.AT_BOUND)
    page.page.get_by_text(f"1 of {flagged.size}").wait_for()


def test_a_zoom_goes_to_the_lines_of_a_fit_and_follows_the_map(open_page, address):
    page = open_page(address)

    def ends():
        return page.page.evaluate(
            "() => { const r = Bokeh.documents[0].get_model_by_name('flux').x_range;"
            " return [r.start, r.end]; }"
        )

    whole = ends()
    options = page.page.get_by_label("Zoom to").locator("option").all_inner_texts()
    page.choose("Zoom to", next(option for option in options if "[S III] 9069" in option))
    page.until(lambda: whole[0] < ends()[0] < 9069 < ends()[1])
    page.choose("Line", "Hβ")
    page.until(lambda: ends()[0] < 4861 < ends()[1] < 9069)


def test_what_is_shown_can_be_saved(open_page, address, run):
    _, content = run
    page = open_page(address)
    page.click(*spaxel_of(content, 7))
    page.title("Bin 7")
    spectrum = rows_of(page.save("spectrum_csv"))
    assert {row["of"] for row in spectrum} == {"bin 7"}
    seen = [float(row["flux"] or "nan") for row in spectrum]
    np.testing.assert_array_equal(seen, flux_of(content, 7))
    lines = rows_of(page.save("lines_csv"))
    assert [row["line"] for row in lines] == list(content.lines.names)
    assert len(rows_of(page.save("map_csv"))) == content.bins.n_spaxel.sum()
    for name in ("map_png", "spectrum_png"):
        saved = Path(page.save(name).path()).read_bytes()
        assert saved.startswith(b"\x89PNG")
        assert len(saved) > 5000


@pytest.mark.parametrize("width", [1400, 800])
def test_nothing_is_wider_than_the_window(open_page, address, width):
    page = open_page(address, width)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.page.evaluate(wide) <= 0
    assert page.page.locator("h1").inner_text() == "NGC 1 <b>"


@pytest.mark.parametrize("last", ["bins.fits", "continuum.fits"])
def test_a_run_half_finished_shows_what_there_is(open_page, serve, tmp_path, last):
    order = ["bins.fits", "spectra.fits", "continuum.fits", "lines.fits", "derived.fits"]
    missing = order[order.index(last) + 1 :]
    content = write_run(tmp_path / "half", without=missing)
    page = open_page(serve(tmp_path / "half"))
    said = page.page.locator(".missing").inner_text()
    for name in missing:
        assert f"There is no {name} yet" in said
    page.click(*spaxel_of(content, 7))
    page.title("Bin 7")
    if last != "bins.fits":
        page.until(lambda: np.array_equal(drawn_flux(page), flux_of(content, 7), True))


def test_a_run_of_many_bins_is_looked_at_row_by_row(open_page, serve, tmp_path):
    content = make_content((178, 178), step=60.0, spaxels=True)
    write_run(tmp_path / "many", content, without=["snr.fits", "derived.fits"])
    assert content.bins.n_bin > 30_000
    page = open_page(serve(tmp_path / "many"))
    for row in (20_000, 30_000):
        page.click(*spaxel_of(content, row))
        page.title(f"Bin {row}")
        page.until(lambda row=row: np.array_equal(drawn_flux(page), flux_of(content, row), True))
