"""Files that are filled row by row are FITS files with right checksums; rows come back."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from betis.errors import InputError
from betis.io.checksum import add_words, encode, sum_words
from betis.io.fits import image_hdu, table_hdu
from betis.io.row_files import image_layout, row_array, table_array, table_layout, write_rows

RNG = np.random.default_rng(0)
FLUX = RNG.normal(size=(9, 13))
MASK = RNG.random((9, 13)) > 0.5
TABLE = table_hdu(
    "LINES",
    {"bin_id": np.arange(9, dtype=np.int32), "line": np.array(["Ha6563"] * 9), "flux": FLUX[:, 0]},
    {"flux": "Angstrom"},
)


def write(path, order):
    layouts = [
        image_layout("FLUX", FLUX.shape, "f8", {"BUNIT": "Angstrom"}),
        image_layout("MASK", MASK.shape, "u1"),
        table_layout(TABLE, 9),
    ]

    def fill(writer):
        for rows in order:
            writer.put("FLUX", rows, FLUX[rows])
            writer.put("MASK", rows, MASK[rows])
            writer.put("LINES", rows, np.asarray(TABLE.data)[rows])
        return [image_hdu("WAVE", np.arange(13.0))]

    write_rows(path, layouts, fill, {"BETISKEY": "abc"})


@given(st.permutations(range(9)), st.integers(1, 8))
def test_any_order_of_rows_gives_one_file_with_right_checksums(tmp_path_factory, order, cut):
    path = tmp_path_factory.mktemp("rows") / "file.fits"
    write(path, [np.array(order[:cut]), np.array(order[cut:])])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert [hdu.name for hdu in hdus[1:]] == ["FLUX", "MASK", "LINES", "WAVE"]
            assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
            assert hdus[0].header["NEXTEND"] == 4
            np.testing.assert_array_equal(hdus["FLUX"].data, FLUX)
            np.testing.assert_array_equal(hdus["MASK"].data, MASK)
            np.testing.assert_array_equal(hdus["LINES"].data["flux"], FLUX[:, 0])


def test_a_wrong_byte_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "file.fits"
    write(path, [slice(None)])
    with fits.open(path) as hdus:
        place = hdus["FLUX"].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fits.open(path, checksum=True).close()
    assert any("verification failed for HDU ('FLUX', 1)" in str(item.message) for item in said)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=12))
def test_rows_are_taken_in_any_order(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "file.fits"
    write(path, [slice(None)])
    with fits.open(path) as hdus:
        array = row_array(path, hdus["FLUX"])
        table = table_array(path, hdus["LINES"])
    np.testing.assert_array_equal(array.take(np.array(rows)), FLUX[rows])
    np.testing.assert_array_equal(array.stored(np.array(rows)), FLUX[rows])
    assert array.stored(np.array(rows)).dtype == ">f8"
    np.testing.assert_array_equal(table.stored(np.array(rows))["flux"], FLUX[rows, 0])


def test_rows_of_a_file_that_was_cut_or_has_gone_are_refused(tmp_path):
    path = tmp_path / "file.fits"
    write(path, [slice(None)])
    with fits.open(path) as hdus:
        array = row_array(path, hdus["FLUX"])
    path.write_bytes(path.read_bytes()[: array.offset + 50])
    with pytest.raises(InputError, match=r"file\.fits ends early; remove it and run again"):
        array.take(slice(0, 9))
    path.unlink()
    with pytest.raises(InputError, match="can no longer be read: No such file"):
        array.take(slice(0, 9))


@given(st.binary(max_size=40), st.integers(0, 40))
def test_the_sum_of_words_does_not_depend_on_where_the_bytes_are_cut(data, cut):
    first, second = data[:cut], data[cut:]
    apart = add_words(sum_words(first), sum_words(second, len(first)))
    assert apart == sum_words(data)


def test_the_published_example_of_the_encoding():
    assert encode(868229149) == "hcHjjc9ghcEghc9g"
