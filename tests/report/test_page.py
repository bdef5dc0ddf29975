from hypothesis import given
from hypothesis import strategies as st

from betis.report.page import (
    Picture,
    bullets,
    details,
    document,
    facts_list,
    figure,
    paragraph,
    table,
    tiles,
)

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=12)


def words(page):
    return "".join(page.itertext())


@given(WORDS, WORDS)
def test_any_text_comes_back_as_it_was(parse, first, second):
    pair = {first: second}
    for html in (
        paragraph(first) + paragraph(second),
        bullets([first, second]),
        table([(first, second)]),
        facts_list(pair),
        tiles(pair),
        details(first, paragraph(second)),
    ):
        assert words(parse(html)) == first + second


@given(WORDS)
def test_any_caption_is_an_attribute_or_a_text(parse, text):
    image = parse(figure(Picture(b"png", text, text)))
    assert image.find(".//img").get("alt") == text
    assert words(image) == text
    assert words(parse(figure(text))) == text


@given(WORDS)
def test_any_title_makes_a_page(parse, title):
    page = parse(document(title, "", {"a": (title, paragraph(title))}))
    assert page.find(".//h1").text in (title, None)
    assert page.find(".//h2").text in (title, None)


def test_columns_of_numbers_stand_right(parse):
    page = parse(table([("line", "flux", "note"), ("a", "−1.5", "x"), ("b", "–", "2")]))
    right = [cell.get("class") == "number" for cell in page.iter("td")]
    assert right == [False, True, False] * 2
    assert [cell.get("class") for cell in page.iter("th")] == [None, "number", None]


def test_a_table_of_a_header_alone(parse):
    assert words(parse(table([("line", "flux")]))) == "lineflux"
