"""The registry of quality bits."""

from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from betis import flags
from betis.flags import MEANING, Flag


def test_each_flag_is_one_bit_of_its_own_that_fits_an_int32():
    values = [flag.value for flag in Flag]
    assert len(set(values)) == len(values)
    assert all(value.bit_count() == 1 and value < 2**31 for value in values)


def test_each_flag_has_a_meaning_of_its_own():
    assert list(MEANING) == list(Flag)
    assert len(set(MEANING.values())) == len(Flag)


@given(chosen=st.sets(st.sampled_from(list(Flag))))
def test_describe_names_the_bits_that_are_set_and_no_other(chosen):
    value = sum(flag.value for flag in chosen)
    assert {Flag[name] for name in flags.describe(value)} == chosen


def test_nothing_to_say_of_zero():
    assert flags.describe(0) == []


def test_header_cards_come_back_whole_from_a_fits_header():
    header = fits.Header()
    for card, text in flags.header_cards().items():
        header[card] = text
    back = fits.Header.fromstring(header.tostring())
    assert {card: back[card] for card in back if card.startswith("FLAG")} == flags.header_cards()
    for flag in Flag:
        assert back[f"FLAG{flag.value}"] == f"{flag.name}: {MEANING[flag]}"
