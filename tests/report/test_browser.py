"""The report in a real browser: every picture is there and the console is silent."""

import json
import re
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROBE = """<script>
addEventListener("load", () => {
  const pictures = [...document.images].map((i) => [i.complete, i.naturalWidth, i.alt]);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.body.setAttribute("data-probe", JSON.stringify({ pictures, wide }));
});
</script></body>"""


@pytest.fixture(scope="module")
def browser():
    found = next((shutil.which(name) for name in BROWSERS if shutil.which(name)), None)
    if found is None:
        pytest.skip("no chromium on this machine; install the package chromium")
    return found


@pytest.mark.parametrize("width", [1400, 800])
def test_every_picture_is_drawn_and_nothing_is_wider_than_the_window(
    browser, finished_run, tmp_path, width
):
    page = (finished_run / "report.html").read_text()
    probed = tmp_path / "report.html"
    probed.write_text(page.replace("</body>", PROBE))
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [browser, *flags, probed.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    probe = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert probe is not None
    seen = json.loads(probe.group(1).replace("&quot;", '"').replace("&amp;", "&"))
    assert len(seen["pictures"]) == page.count("<img") >= 8
    for complete, drawn, alt in seen["pictures"]:
        assert complete
        assert drawn > 100
        assert alt
    assert seen["wide"] <= 0
