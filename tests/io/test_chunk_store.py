"""Blocks of rows are kept until the whole is written, and damage is only a missing block."""

import numpy as np
import pytest
from tests.io.same import same
from tests.io.test_row_products import line_fit

from betis.errors import RunFolderError
from betis.io.chunk_store import ChunkStore, Trouble
from betis.products import ContinuumFit, LineFit

ROWS = slice(0, 4)


def store(path, key="a" * 64, kind=LineFit, name="lines"):
    made = ChunkStore(path, name, key, kind)
    made.open()
    return made


def continuum_fit():
    rng = np.random.default_rng(3)
    names = ("velocity", "velocity_err", "sigma", "sigma_err", "av", "av_err", "chi2", "dof",
             "mean_log_age_light", "mean_log_age_mass", "mean_metallicity_light",
             "mean_metallicity_mass")  # fmt: skip
    return ContinuumFit(
        model=rng.normal(size=(4, 9)),
        weights=rng.normal(size=(4, 2)),
        flags=np.arange(4, dtype=np.int32),
        used=rng.random((4, 9)) > 0.5,
        **{name: rng.normal(size=4) for name in names},
    )


@pytest.mark.parametrize(("kind", "make"), [(LineFit, line_fit), (ContinuumFit, continuum_fit)])
def test_a_block_comes_back_to_the_last_bit(kind, make, tmp_path):
    block = make()
    store(tmp_path, kind=kind).put(ROWS, block)
    same(block, store(tmp_path, kind=kind).get(ROWS).fit)


def test_what_could_not_be_fitted_is_kept_with_the_block(tmp_path):
    troubles = (Trouble(3, "no memory"), Trouble(1, "not a number"))
    store(tmp_path).put(ROWS, line_fit(), troubles)
    assert store(tmp_path).get(ROWS).troubles == troubles


def test_arrays_beside_the_blocks_come_back_and_go_with_them(tmp_path):
    held = {"velocity": np.array([1.0, np.nan]), "sigma": np.array([2.0, 3.0])}
    store(tmp_path).put_beside("held", held)
    found = store(tmp_path).beside("held")
    assert found.keys() == held.keys()
    assert all(np.array_equal(found[name], held[name], equal_nan=True) for name in held)
    assert store(tmp_path, key="b" * 64).beside("held") is None


def test_a_block_of_other_rows_is_another(tmp_path):
    store(tmp_path).put(ROWS, line_fit())
    assert store(tmp_path).get(slice(4, 8)) is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_damaged_block_is_missing_and_can_be_replaced(share, tmp_path):
    kept = store(tmp_path)
    kept.put(ROWS, line_fit())
    (file,) = tmp_path.rglob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert kept.get(ROWS) is None
    again = line_fit()
    kept.put(ROWS, again)
    same(again, kept.get(ROWS).fit)


def test_a_flipped_byte_is_seen(tmp_path):
    kept = store(tmp_path)
    kept.put(ROWS, line_fit())
    (file,) = tmp_path.rglob("*.npz")
    whole = bytearray(file.read_bytes())
    whole[whole.index(b"\x93NUMPY") + 200] ^= 1
    file.write_bytes(bytes(whole))
    assert kept.get(ROWS) is None


def test_another_key_removes_what_was_kept_and_other_products_stay(tmp_path):
    store(tmp_path).put(ROWS, line_fit())
    stars = store(tmp_path, kind=ContinuumFit, name="continuum")
    stars.put(ROWS, continuum_fit())
    assert store(tmp_path, key="b" * 64).get(ROWS) is None
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    assert stars.get(ROWS) is not None


def test_nothing_is_left_once_the_whole_is_written(tmp_path):
    kept = store(tmp_path)
    kept.put(ROWS, line_fit())
    kept.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / ".chunks").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot be made"):
        store(tmp_path)
