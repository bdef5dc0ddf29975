"""What is read ahead and written behind comes in order, and no thread is left."""

import threading
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betis.compute import Behind, ahead

LONG = 60.0
"""Seconds after which a test that waits has failed."""


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("betis-")} - {
        thread for thread in threading.enumerate() if thread.name == "betis-compute"
    }


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threads()
    yield
    assert threads() == before


@settings(max_examples=20)
@given(n_item=st.integers(0, 9), depth=st.integers(1, 4))
def test_items_come_in_their_order(n_item, depth):
    assert list(ahead(range(n_item), depth)) == list(range(n_item))


def test_the_next_item_is_drawn_while_the_caller_works():
    begun = [threading.Event() for _ in range(4)]

    def source():
        for number, event in enumerate(begun):
            event.set()
            yield number

    for number in ahead(source()):
        if number + 1 < len(begun):
            assert begun[number + 1].wait(LONG)


def test_no_more_is_drawn_than_may_wait():
    drawn, wanted = [], threading.Event()

    def source():
        for number in count():
            drawn.append(number)
            if number == 2:
                wanted.set()
            yield number

    items = ahead(source(), depth=2)
    assert next(items) == 0
    assert wanted.wait(LONG)
    items.close()
    assert drawn == [0, 1, 2]


def test_items_are_drawn_in_one_other_thread():
    idents = list(ahead(threading.get_ident() for _ in range(5)))
    assert len(set(idents)) == 1
    assert idents[0] != threading.get_ident()


def test_an_error_of_the_source_comes_after_the_items_before_it():
    def source():
        yield from range(3)
        raise ZeroDivisionError("three")

    found = []
    with pytest.raises(ZeroDivisionError, match="three"):
        found.extend(ahead(source(), depth=2))  # extend keeps what came before the error
    assert found == [0, 1, 2]


def test_a_source_is_closed_where_the_caller_stops():
    closed = threading.Event()

    def source():
        try:
            yield from count()
        finally:
            closed.set()

    for number in ahead(source()):
        if number == 3:
            break
    # The generator is closed as soon as nobody holds it.
    assert closed.wait(LONG)


def test_an_interrupt_of_the_caller_ends_the_reading():
    items = ahead(count())

    def work():
        for number in items:
            if number == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    items.close()
    assert list(items) == []


def test_items_that_are_done_with_are_not_kept():
    import gc
    import weakref

    class Item:
        pass

    items, held = ahead(Item() for _ in range(3)), []
    for _ in range(2):
        item = next(items)
        held.append(weakref.ref(item))
        del item
    last = next(items)
    gc.collect()
    assert [one() for one in held] == [None, None]
    assert last is not None
    assert list(items) == []


@settings(max_examples=20)
@given(n_item=st.integers(0, 9), depth=st.integers(1, 4))
def test_all_is_written_in_order_at_the_end(n_item, depth):
    written = []
    with Behind(lambda *item: written.append(item), depth) as behind:
        for number in range(n_item):
            behind.put(number, -number)
    assert written == [(number, -number) for number in range(n_item)]


def test_the_caller_goes_on_while_something_is_written():
    goes_on, written = threading.Event(), []

    def write(number):
        assert goes_on.wait(LONG)
        written.append(number)

    with Behind(write) as behind:
        behind.put(1)
        assert not written
        goes_on.set()
    assert written == [1]


def test_the_caller_waits_where_too_much_waits():
    begun, let_go, put = threading.Event(), threading.Event(), threading.Event()

    def write(number):
        begun.set()
        assert let_go.wait(LONG)

    def work():
        with Behind(write) as behind:
            behind.put(0)
            behind.put(1)
            put.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(LONG)
    assert not put.wait(0.1)
    let_go.set()
    thread.join(LONG)
    assert put.is_set()


@pytest.mark.parametrize("depth", [1, 3])
def test_an_error_is_raised_and_nothing_is_written_after_it(depth):
    written = []

    def write(number):
        if number == 1:
            raise OSError("the disk is full")
        written.append(number)

    def work():
        with Behind(write, depth) as behind:
            for number in range(9):
                behind.put(number)

    with pytest.raises(OSError, match="the disk is full"):
        work()
    assert written == [0]


def test_the_error_of_the_last_item_is_raised_at_the_end():
    def work():
        with Behind(lambda number: 1 / number) as behind:
            behind.put(0)

    with pytest.raises(ZeroDivisionError):
        work()


def test_the_error_of_the_caller_stands_before_that_of_the_writer():
    def work():
        with Behind(lambda number: 1 / number) as behind:
            behind.put(0)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()
