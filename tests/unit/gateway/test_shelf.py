"""Items at rest are packed; what is read is the item that was put, and the newest of it."""

from dataclasses import replace

from gateway.api.write import Cards
from gateway.shelf import Shelf
from gateway.types import Item
from plait.v1 import types_pb2 as t

MILK = Item("milk", 1, title="Milk", price=1.5, attributes={"size": "1 l"})
OATS = Item("oats", 2, title="Oats", available=False)


def packed(*items: Item) -> Shelf:
    made = Shelf()
    for _ in made.pack(items):
        pass
    return made


def test_a_packed_item_is_read_as_it_was_and_is_the_same_object_each_time() -> None:
    made = packed(MILK, OATS)
    assert [made.get(0), made.get(1)] == [MILK, OATS]
    assert made.get(0) is made.get(0)


def test_what_was_put_over_a_packed_item_is_read_even_after_the_old_one_was() -> None:
    made = packed(MILK, OATS)
    assert made.get(0) == MILK
    dearer = replace(MILK, price=2.0)
    made.put(0, dearer)
    assert made.get(0) is dearer
    made.put(1, None)
    assert made.get(1) is None
    assert not made.has(1)


def test_items_kept_unpacked_are_bounded() -> None:
    made = Shelf(most_lately=2)
    for _ in made.pack(replace(MILK, item_id=str(n), key=n) for n in range(1, 8)):
        pass
    for row in (0, 1, 2, 3, 0, 6):
        item = made.get(row)
        assert item is not None
        assert item.item_id == str(row + 1)
        assert len(made._lately) <= 2


def test_a_feed_of_everything_leaves_no_more_unpacked_than_before() -> None:
    made = Shelf(most_lately=2)
    full = replace(MILK, text="x" * 400, image=b"\0\1\2\3", provider="P", domain="D", brand="B")
    for _ in made.pack(replace(MILK, item_id=str(n), key=n) for n in range(1, 8)):
        pass
    fed = [replace(full, item_id=str(n), key=n, price=None if n % 2 else 2.5) for n in range(1, 10)]
    for row, item in enumerate(fed):
        if row < 7:
            made.put(row, item)
        else:
            assert made.append(item) == row
        assert made.get(row) is item
        assert len(made._lately) <= 2
    made.put(3, None)
    assert [made.get(row) for row in range(9)] == [*fed[:3], None, *fed[4:]]
    assert not any(isinstance(kept, Item) for kept in made._own.values())


def test_a_card_shows_the_item_as_it_is_now() -> None:
    made, cards = packed(MILK), Cards()
    for price in (1.5, 1.5, 3.0):
        made.put(0, replace(MILK, price=price))
        item = made.get(0)
        assert item is not None
        for _ in range(2):
            card = t.RankedItem()
            cards.write(card, 0, item)
            assert (card.item_id, card.item.price) == (item.item_id, price)
