"""A byte that is not what it was, anywhere in a header: read rightly or refused, never half."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.io.mutations.cases import NAMES
from tests.io.mutations.settings import settings as make_settings

import betis
from betis.errors import BetisError
from betis.inspection import describe_cube

AXIS = {"CTYPE3", "CRVAL3", "CRPIX3", "CD3_3", "CDELT3", "CUNIT3"}
SAID_ONCE = ("califa", "sami", "sami, two arms")
"""Layouts that state the axis in one place."""

MASK_UNPROMISED = {"EXTNAME", "XTENSION"}
"""Cards of MUSE's DQ, which a file may be without."""

ATTEMPTS = 100


@pytest.fixture(scope="module")
def laid(tmp_path_factory):
    return make_settings(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("flipped")


def card_places(path) -> list[int]:
    """Return where the cards of all headers start, but for blank ones."""
    with fits.open(path) as hdus:
        ranges = [(info["hdrLoc"], info["datLoc"]) for info in (hdu.fileinfo() for hdu in hdus)]
    content = path.read_bytes()
    places = [place for start, end in ranges for place in range(start, end, 80)]
    return [place for place in places if content[place : place + 80].strip()]


def opened(setting, where):
    given = dict(zip(setting.words[::2], setting.words[1::2], strict=True))
    layout, arm = given.get("--instrument"), given.get("--arm")
    return betis.read_cube(where / setting.main, layout and where / layout, arm and where / arm)


def require_right(name, card, cube, truth):
    """Check what is known twice, and what the card that was changed does not say."""
    block = cube.read()
    if not (name == "muse" and card in MASK_UNPROMISED and not block.mask.any()):
        np.testing.assert_array_equal(block.mask, truth.bad)
    good = ~truth.bad
    np.testing.assert_allclose(block.flux[good], truth.flux[good], rtol=1e-6)
    np.testing.assert_allclose(block.variance[good] ** 0.5, truth.sigma[good], rtol=1e-6)
    if not (name in SAID_ONCE and card in AXIS):
        np.testing.assert_allclose(cube.wave, truth.wave, rtol=0, atol=2e-3)
        assert cube.medium == truth.medium
    if card != "BUNIT":
        assert cube.sky.flux_scale == pytest.approx(truth.scale)
    assert describe_cube(cube)["size"].startswith("5 x 4 spaxels")


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_byte_is_harmless_or_refused(name, laid, folder):
    setting = laid[name]
    path = setting.lay(folder / name).path
    content, places = path.read_bytes(), card_places(path)

    @settings(max_examples=ATTEMPTS)
    @given(
        place=st.sampled_from(places),
        byte=st.integers(0, 79),
        change=st.sampled_from([1 << bit for bit in range(8)]) | st.integers(1, 255),
    )
    def flip(place, byte, change):
        at = place + byte
        path.write_bytes(content[:at] + bytes([content[at] ^ change]) + content[at + 1 :])
        card = content[place : place + 8].decode().strip()
        try:
            cube = opened(setting, folder / name)
        except BetisError as error:
            assert "\n" not in str(error)  # noqa: PT017
            return
        require_right(name, card, cube, setting.truth)

    flip()
