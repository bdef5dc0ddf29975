from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betis.flags import MEANING, Flag
from betis.report.summary import (
    counted,
    detected,
    doublet_label,
    duration,
    flag_table,
    flux_unit,
    key_numbers,
    line_table,
    measure,
    median,
    number,
    percent,
    reached_share,
    reduced,
    scale_text,
    shown_lines,
    timing_table,
    verdict,
)


def test_the_share_counts_spaxels_not_bins(content):
    low = content.bins.flags == Flag.LOW_SNR
    inside = content.bins.bin_id >= 0
    expected = np.mean(~low[content.bins.bin_id[inside]])
    assert reached_share(content) == pytest.approx(expected)
    assert verdict(content).startswith(percent(expected))
    assert next(iter(key_numbers(content).values())) == percent(expected)


def test_given_bins_are_not_said_to_reach_anything(content):
    given_bins = replace(content, bins=replace(content.bins, target=float("nan")))
    assert "no target S/N was asked" in verdict(given_bins)
    assert "of the spaxels reach the target" not in key_numbers(given_bins)


def test_a_doublet_is_the_sum_of_its_lines(content):
    fit = content.lines
    pair = measure(content, ("SII6716", "SII6731"))
    first, second = fit.index("SII6716"), fit.index("SII6731")
    np.testing.assert_allclose(pair.flux, fit.flux[:, first] + fit.flux[:, second])
    error = np.hypot(fit.flux_err[:, first], fit.flux_err[:, second])
    np.testing.assert_allclose(pair.snr, pair.flux / error)
    assert pair.label == "[S II] 6716+6731"
    np.testing.assert_array_equal(pair.velocity, fit.velocity[:, pair.position])


def test_a_line_that_was_not_fitted_is_none(content):
    assert measure(content, ("Unknown1234",)) is None


def test_the_main_lines_are_shown_first(content):
    labels = [line.label for line in shown_lines(content)]
    assert labels == ["Hα", "Hβ", "[O III] 5007", "[N II] 6583", "[S II] 6716+6731"]


@pytest.mark.parametrize(("name", "counts"), [("NaI5890", True), ("OIII5007", False)])
def test_only_absorption_lines_are_detected_by_negative_fluxes(content, name, counts):
    column = content.lines.index(name)
    snr = np.zeros_like(content.lines.snr)
    snr[:, column] = -5
    found = detected(replace(content, lines=replace(content.lines, snr=snr)))
    assert found[:, column].all() == counts
    assert not np.delete(found, column, axis=1).any()


def test_the_line_table_sums_detected_bins_only(content):
    header, *rows = line_table(content)
    row = next(row for row in rows if row[0] == "Hα")
    column = content.lines.index("Ha6563")
    seen = content.lines.snr[:, column] >= 3
    assert row[1] == f"{seen.sum()} of {seen.size}"
    assert float(row[3].replace(",", "")) == pytest.approx(
        content.lines.flux[seen, column].sum(), rel=1e-3
    )
    assert len(row) == len(header)


@given(st.lists(st.integers(0, 2**10 - 1), min_size=1, max_size=30))
def test_the_flag_table_counts_every_bit(values):
    _, clean, *rows = flag_table(np.array(values, dtype=np.int32), "bins")
    assert int(clean[1]) == values.count(0)
    found = {row[0]: int(row[1]) for row in rows}
    for flag in Flag:
        assert found.get(flag.name, 0) == sum(bool(value & flag) for value in values)
    assert all(row[3] in MEANING.values() for row in rows)


def test_timings_add_up():
    rows = timing_table({"snr": 1.0, "lines": 3.0})
    assert rows[1:] == [
        ("snr", "1.0 s", "25 %"),
        ("lines", "3.0 s", "75 %"),
        ("all", "4.0 s", "100 %"),
    ]
    assert timing_table({"snr": 0.0})[1] == ("snr", "0.0 s", "–")


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_nothing_or_all(share):
    text = percent(share)
    assert (text == "0 %") == (share == 0)
    assert (text == "100 %") == (share == 1)
    assert percent(-share).startswith(("−", "> −")) == (share > 0)


def test_a_negative_share_is_said_as_such():
    assert [percent(share) for share in (-0.3, -1e-6)] == ["−30 %", "> −0.1 %"]


@given(st.floats(-1e12, 1e12).filter(lambda value: value == 0 or abs(value) > 1e-12))
def test_numbers_can_be_read_back(value):
    text = number(value).replace("−", "-").replace(",", "")
    mantissa, _, power = text.partition("×10")
    power = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(mantissa) * 10 ** int(power or 0) == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize("format_it", [number, percent, duration])
def test_nan_is_a_dash(format_it):
    assert format_it(float("nan")) == "–"


@pytest.mark.parametrize(
    ("scale", "text"),
    [(1e-20, "10⁻²⁰ "), (1e-16, "10⁻¹⁶ "), (2e-17, "2×10⁻¹⁷ "), (1.0, ""), (0.01, "10⁻² ")],
)
def test_scales_of_flux(content, scale, text):
    assert scale_text(scale) == text
    sky = replace(content.sky, flux_scale=scale)
    assert flux_unit(replace(content, sky=sky)) == f"{text}erg/s/cm²"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("SII6716", "[S II] 6716"),
        ("SII6716+SII6731", "[S II] 6716+[S II] 6731"),
        ("min(Ha6563,OIII5007)", "min(Hα, [O III] 5007)"),
        ("continuum:5500-5600", "continuum:5500-5600"),
        ("Unknown1234", "Unknown1234"),
    ],
)
def test_every_line_in_what_the_snr_is_of_has_its_label(content, name, label):
    assert content.label(name) == label


def test_small_words():
    assert counted(1, "bin") == "1 bin"
    assert counted(2000, "bin") == "2,000 bins"
    assert [duration(value) for value in (3, 600, 9000)] == ["3.0 s", "10.0 min", "2.5 h"]
    assert doublet_label(["Hα", "Hβ"]) == "Hα+Hβ"
    assert doublet_label(["[N II] 6583"]) == "[N II] 6583"


def test_statistics_ignore_what_is_not_finite():
    assert median(np.array([np.nan, 1.0, 3.0, np.inf])) == 2.0
    assert np.isnan(median(np.array([np.nan])))
    np.testing.assert_array_equal(reduced(np.array([4.0, 4.0]), np.array([2.0, 0.0])), [2, np.nan])
