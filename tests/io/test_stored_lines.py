"""Line fits in a file are those in memory, whatever of them is in memory."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.io.same import same
from tests.io.test_row_products import CARDS, SKY, line_fit

from betis.derived import derive
from betis.errors import InputError
from betis.io.row_files import RowArray
from betis.io.row_products import write_lines
from betis.io.stored_lines import PER_LINE, read_lines
from betis.linelist import load_line_set
from betis.maps import make_maps
from betis.options import DerivedOptions
from betis.products import BinMap, LineFit, RowStream

N_ROW = 48
COLUMN = N_ROW * 3 * 8
FIT = line_fit(N_ROW, flux_cov=np.random.default_rng(3).normal(size=(N_ROW, 3, 3)))
ROOMS = (0, 2 * COLUMN, 10**9)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    where = tmp_path_factory.mktemp("lines") / "lines.fits"
    stream = RowStream(n_row=N_ROW, pieces=[(slice(0, N_ROW), FIT)])
    write_lines(where, stream, load_line_set().select(FIT.names), CARDS)
    return where


@pytest.fixture
def reads(monkeypatch):
    """Rows asked of the file."""
    asked, stored = [], RowArray.stored
    monkeypatch.setattr(
        RowArray, "stored", lambda self, rows: asked.append(self.shape) or stored(self, rows)
    )
    return asked


@pytest.mark.parametrize("room", ROOMS)
def test_every_quantity_is_that_in_memory_and_so_again(path, room):
    found = read_lines(path, room)
    assert isinstance(found, LineFit)
    assert found.n_spectrum == FIT.n_spectrum == N_ROW
    for _ in range(2):
        same(FIT, found)
    assert found.index("SII6731") == 2


@given(st.lists(st.integers(-N_ROW, N_ROW - 1), max_size=9), st.sampled_from(ROOMS))
def test_rows_are_taken_as_from_memory(path, rows, room):
    index = np.array(rows, dtype=np.intp)
    same(FIT.take(index), read_lines(path, room).take(index))


@pytest.mark.parametrize(
    "rows", [slice(None), slice(5, 5), slice(3, 40, 7), np.arange(N_ROW) % 3 == 0]
)
def test_slices_and_masks_too(path, rows):
    same(FIT.take(rows), read_lines(path).take(rows))


def test_there_is_no_row_behind_the_last(path):
    with pytest.raises(IndexError, match="of 48"):
        read_lines(path).take(np.array([N_ROW]))


@given(st.lists(st.sampled_from(PER_LINE), max_size=12), st.sampled_from(ROOMS))
def test_no_more_stays_in_memory_than_there_is_room_for(path, names, room):
    found = read_lines(path, room)
    for name in names:
        getattr(found, name)
        assert sum(a.nbytes for a in found._recent.arrays.values()) <= max(room, COLUMN)


def test_nothing_is_read_before_it_is_asked_for(path, reads):
    found = read_lines(path)
    assert found.names == FIT.names
    assert "48 x 3 lines" in repr(found)
    assert not reads
    assert found.flux[0, 0] == FIT.flux[0, 0]
    assert len(reads) == 1


def test_all_columns_are_read_in_one_pass_where_there_is_room(path, reads):
    found = read_lines(path, 10**9)
    for name in PER_LINE:
        getattr(found, name)
    assert len(reads) == 1


def test_what_was_used_last_is_not_read_again(path, reads):
    found = read_lines(path, 2 * COLUMN)
    for name in ("flux", "snr", "flux", "snr", "flux"):
        getattr(found, name)
    assert len(reads) == 2
    for name in ("ew", "flux", "snr"):  # the third puts the first out, which was snr
        getattr(found, name)
    assert len(reads) == 4


@pytest.mark.parametrize("room", ROOMS)
def test_maps_and_what_is_derived_do_not_depend_on_where_the_fits_are(path, room):
    bin_id = np.arange(N_ROW, dtype=np.int32).reshape(SKY.shape)
    bins = BinMap(
        bin_id=bin_id,
        n_spaxel=np.full(N_ROW, 2, np.int32),
        snr=np.ones(N_ROW),
        flags=np.zeros(N_ROW, np.int32),
    )
    stored = read_lines(path, room)
    one, two = make_maps(bins, FIT), make_maps(bins, stored)
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    dust, options = np.array([1.2, 0.8, 0.8]), DerivedOptions(min_snr=0.1)
    one, two = (derive(fit, options, dust=dust) for fit in (FIT, stored))
    assert set(one.quantities) == set(two.quantities) > {"GAS_AV"}
    for name, quantity in one.quantities.items():
        np.testing.assert_array_equal(quantity.value, two.quantities[name].value)
        np.testing.assert_array_equal(quantity.error, two.quantities[name].error)


def test_a_file_that_has_gone_says_so(path, tmp_path):
    copy = tmp_path / "lines.fits"
    copy.write_bytes(path.read_bytes())
    found = read_lines(copy)
    copy.unlink()
    with pytest.raises(InputError, match="can no longer be read: No such file"):
        found.flux  # noqa: B018 (reading it is what fails)


def test_every_field_of_a_fit_is_known_to_the_file():
    assert {item.name for item in fields(LineFit)} >= set(PER_LINE)
    assert "flags" in PER_LINE
    assert not {"names", "group", "sky", "chi2"} & set(PER_LINE)
