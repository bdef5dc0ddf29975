"""A browser, and pages in it whose console must stay silent."""

import shutil
import time
from contextlib import ExitStack

import pytest
from playwright.sync_api import sync_playwright
from tests.viewer.runs import served, write_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PLACE = """([x, y]) => {
  const view = Bokeh.index.get_one(Bokeh.documents[0].get_model_by_name("map"));
  const corner = view.canvas_view.el.getBoundingClientRect();
  const { x_scale, y_scale } = view.frame;
  return [corner.left + x_scale.compute(x), corner.top + y_scale.compute(y)];
}"""
COLUMN = """([name, glyph, field]) => {
  const figure = Bokeh.documents[0].get_model_by_name(name);
  const shown = figure.renderers.filter(
    (r) => r.visible && r.glyph.type === glyph && field in r.data_source.data
  );
  return shown.map((r) => {
    const values = r.data_source.data[field];
    return Array.from(values, (v) => (v.length === undefined ? v : Array.from(v)));
  });
}"""


def find_chromium():
    """Return the path of a browser; None where there is none."""
    return next((shutil.which(name) for name in BROWSERS if shutil.which(name)), None)


class Page:
    """A page of the viewer, as a reader has it."""

    def __init__(self, page, address):
        self.page, self.faults = page, []
        page.on("console", lambda m: m.type == "error" and self.faults.append(m.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._require_local(request.url, address))
        page.goto(address)
        page.locator("h2", has_text="Bin").wait_for()

    def _require_local(self, url, address):
        if not url.startswith((address, "blob:", "data:", address.replace("http", "ws"))):
            self.faults.append(f"something is fetched from {url}")

    def click(self, x, y, *keys):
        """Click a spaxel."""
        place = self.page.evaluate(PLACE, [x, y])
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(*place)
        for key in keys:
            self.page.keyboard.up(key)

    def title(self, text):
        """Wait for what is said above the spectra."""
        self.page.locator("h2", has_text=text).wait_for()

    def choose(self, label, option):
        """Choose in a select."""
        self.page.get_by_label(label, exact=True).select_option(label=option)

    def press(self, text):
        """Press one of several buttons."""
        self.page.get_by_text(text, exact=True).click()

    def column(self, name, glyph, field):
        """Return what the visible glyphs of a kind draw, from the figure of that name."""
        return self.page.evaluate(COLUMN, [name, glyph, field])

    def first_flux(self):
        """Return the flux of the first pixel of the one spectrum that is drawn."""
        return self.column("flux", "Step", "flux")[0][0]

    def save(self, name):
        """Press the button of that name, and return the file that the browser saves."""
        with self.page.expect_download() as download:
            self.page.evaluate(
                "(name) => Bokeh.index.get_one(Bokeh.documents[0].get_model_by_name(name))"
                ".el.shadowRoot.querySelector('button').click()",
                name,
            )
        return download.value

    def until(self, condition, *, seconds=20.0, pause=50):
        """Wait until a condition holds, looking every ``pause`` ms."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            self.page.wait_for_timeout(pause)
        raise AssertionError("it did not come about")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a synthetic run, and what is in it; not to be changed."""
    folder = tmp_path_factory.mktemp("viewed") / "NGC 1 <b>"
    return folder, write_run(folder)


@pytest.fixture(scope="session")
def address(run):
    with served(run[0]) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    found = find_chromium()
    if found is None:
        pytest.skip("no chromium on this machine; install the package chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        chromium = playwright.chromium.launch(executable_path=found, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def serve():
    """Serve run folders until the pages are closed."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(served(folder))


@pytest.fixture
def open_page(browser, serve):
    """Open pages; whatever their consoles complained of fails the test."""
    opened, shown = [], []

    def open_one(address, width=1400):
        opened.append(browser.new_page(viewport={"width": width, "height": 1000}))
        shown.append(Page(opened[-1], address))
        return shown[-1]

    yield open_one
    faults = [fault for page in shown for fault in page.faults]
    for page in opened:
        page.close()
    assert faults == []
