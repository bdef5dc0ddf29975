"""FITS checksums that are summed while the data are written.

References
----------
Definition of the FITS standard, version 4.0 (Pence et al. 2010, A&A 524 A42), section 4.4.2.7 and
Appendix J: the 1's complement sum of 32-bit words, and its encoding in ASCII.
"""

from __future__ import annotations

import numpy as np

_WORD = 0xFFFFFFFF
_CARD = 80
_VALUE = slice(11, 27)
_PUNCTUATION = {*range(0x3A, 0x41), *range(0x5B, 0x61)}
"""What stands between digits, capitals and small letters in ASCII."""


def add_words(first: int, second: int) -> int:
    """Return the 1's complement sum of two 32-bit words."""
    total = first + second
    while total >> 32:
        total = (total & _WORD) + (total >> 32)
    return total


def sum_words(data: bytes, offset: int = 0) -> int:
    """Return the 1's complement sum of bytes that begin ``offset`` bytes behind a word's start."""
    padded = bytes(offset % 4) + data
    padded += bytes(-len(padded) % 4)
    return add_words(int(np.frombuffer(padded, ">u4").sum(dtype=np.uint64)), 0)


def encode(value: int) -> str:
    """Return the 16 characters that stand for the complement of a word."""
    letters = [""] * 16
    for place, byte in enumerate((~value & _WORD).to_bytes(4, "big")):
        quotient, remainder = divmod(byte, 4)
        codes = _without_punctuation([quotient + 0x30 + remainder, *[quotient + 0x30] * 3])
        for index, code in enumerate(codes):
            letters[4 * index + place] = chr(code)
    return letters[-1] + "".join(letters[:-1])


def sealed(header: bytes, data_words: int) -> bytes:
    """Return a header with DATASUM and CHECKSUM; it must have blank room for the two cards.

    The header's own cards of those names, if any, must have been taken out.
    """
    text = _with_cards(header, data_words, "0" * 16)
    whole = add_words(sum_words(text), data_words)
    return _with_cards(header, data_words, encode(whole))


def _with_cards(header: bytes, data_words: int, checksum: str) -> bytes:
    cards = [header[start : start + _CARD] for start in range(0, len(header), _CARD)]
    end = next(index for index, card in enumerate(cards) if card.rstrip() == b"END")
    made = [
        f"CHECKSUM= '{checksum}'   / HDU checksum".ljust(_CARD).encode("ascii"),
        f"DATASUM = '{data_words}'".ljust(31).encode("ascii") + b"/ data unit checksum".ljust(49),
    ]
    kept = [*cards[:end], *made, cards[end]]
    return b"".join(kept).ljust(-(-len(kept) * _CARD // 2880) * 2880)


def _without_punctuation(codes: list[int]) -> list[int]:
    """Move pairs of codes apart, which keeps their sum, until all are digits or letters."""
    while any(code in _PUNCTUATION for code in codes):
        for first in (0, 2):
            if codes[first] in _PUNCTUATION or codes[first + 1] in _PUNCTUATION:
                codes[first] += 1
                codes[first + 1] -= 1
    return codes
