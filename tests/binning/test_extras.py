"""Cappellari's binnings, where somebody has installed them; betis does not."""

import builtins
import importlib
import importlib.util

import numpy as np
import pytest
from tests.binning.fields import disc, own_snr, pieces

from betis.binning.extras import powerbin, vorbin
from betis.errors import ConfigError, InputError
from betis.options import BinningOptions

BOTH = pytest.mark.parametrize("binning", [powerbin, vorbin])


def require(binning):
    """Skip where the package is absent: it is for non-commercial use, so no CI installs it."""
    name = binning.__name__
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"the extra betis[{name}] is not installed: it is for non-commercial use only")


@BOTH
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_bins_keep_the_promises_of_any_binning(binning, correlation):
    require(binning)
    signal, noise, _ = disc(40, peak=20.0)
    bins = binning(signal, noise, BinningOptions(target=10.0, correlation=correlation))
    assert np.array_equal(bins.bin_id >= 0, np.isfinite(signal))
    assert set(pieces(bins)) == {1}
    np.testing.assert_allclose(bins.snr, own_snr(bins, signal, noise, correlation), rtol=1e-9)
    assert np.array_equal(bins.flags == 0, bins.snr >= 10.0)
    shared = bins.n_spaxel > 1
    assert np.median(bins.snr[shared]) == pytest.approx(11.0, rel=0.15)


@BOTH
def test_what_they_cannot_bin_is_refused(binning, monkeypatch):
    def fails(*_):
        raise ValueError("Not enough S/N")

    monkeypatch.setattr("betis.binning.extras._imported", lambda *_: None)
    monkeypatch.setattr("betis.binning.extras._power_bins", fails)
    monkeypatch.setattr("betis.binning.extras._voronoi_bins", fails)
    with pytest.raises(
        InputError, match=rf"{binning.__name__} cannot bin this field to S/N 11: Not"
    ):
        binning(np.ones((4, 4)), np.ones((4, 4)), BinningOptions())


@BOTH
def test_without_the_package_its_extra_is_named(binning, monkeypatch):
    def absent(name, *_):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=rf"pip install 'betis\[{binning.__name__}\]'"):
        binning(np.ones((4, 4)), np.ones((4, 4)), BinningOptions())


def test_betis_imports_neither_unasked(monkeypatch):
    import_ = builtins.__import__

    def refusing(name, *args, **kwargs):
        assert not name.startswith(("powerbin", "vorbin")), name
        return import_(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    importlib.reload(importlib.import_module("betis.binning.extras"))
