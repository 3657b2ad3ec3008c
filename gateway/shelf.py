"""Items at rest: what the shop says of them, packed, and made into items when asked for.

A million Python objects with their strings take gigabytes and half a minute to
make; a request shows twenty. One idea: an item is a few hundred bytes, in a block if it
was read at start, by itself if it came or changed since.
"""

import marshal
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from gateway.fusion.types import Rows
from gateway.types import Item

# Items per block: large enough that the blocks' own size does not count.
_BLOCK = 4_096
# Written and read by this process alone; without references, which small tuples gain nothing by.
_FORMAT = 2
# Items kept unpacked, about 1.5 kB each.
_MOST_LATELY = 8_192


class Shelf:
    """Items by row, 0, 1, 2 ... Rows stay; a removed one is empty."""

    def __init__(self, most_lately: int = _MOST_LATELY) -> None:
        """At most `most_lately` items are kept unpacked too."""
        self._most_lately = most_lately
        self._size = 0
        # Rows 0 .. of those that were packed, by block, and where in it each begins.
        self._blocks: list[bytes] = []
        self._begins: list[array[int]] = []
        # What was put behind the blocks or over what is in one, packed too: shops send all they
        # have night after night. None: removed.
        self._own: dict[int, bytes | None] = {}
        self._pictured: set[int] = set()  # rows of items with an image
        # Unpacked lately: what is shown is shown often, and is the same object each time.
        self._lately: dict[int, Item] = {}

    def __len__(self) -> int:
        """Return how many rows there are, empty ones included."""
        return self._size

    def pack(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Append items block by block, yielding each block; before anything is put."""
        block: list[Item] = []
        for item in items:
            block.append(item)
            if len(block) == _BLOCK:
                self._pack(block)
                yield block
                block = []
        if block:
            self._pack(block)
            yield block

    def append(self, item: Item) -> int:
        """Put an item behind the others and return its row."""
        self._size += 1
        self.put(self._size - 1, item)
        return self._size - 1

    def put(self, row: int, item: Item | None) -> None:
        """Put an item into a row that there is; None removes what is there."""
        self._lately.pop(row, None)
        self._own[row] = None if item is None else _write(item)
        if item is not None:
            self._keep_unpacked(row, item)
        if item is not None and item.image:
            self._pictured.add(row)
        else:
            self._pictured.discard(row)

    def get(self, row: int) -> Item | None:
        """Return the item of a row, None where it was removed; raises IndexError beyond."""
        if not 0 <= row < self._size:
            raise IndexError(row)
        packed = self._own.get(row, b"")
        if packed is None:
            return None
        if (item := self._lately.get(row)) is not None:
            return item
        if not packed:
            number, place = divmod(row, _BLOCK)
            begins = self._begins[number]
            packed = self._blocks[number][begins[place] : begins[place + 1]]
        item = _read(packed)
        self._keep_unpacked(row, item)
        return item

    def _keep_unpacked(self, row: int, item: Item) -> None:
        if len(self._lately) >= self._most_lately:
            self._lately.clear()  # the shown ones are back within some requests
        self._lately[row] = item

    def has(self, row: int) -> bool:
        """Say whether a row holds an item."""
        return 0 <= row < self._size and self._own.get(row, True) is not None

    def pictured(self) -> Rows:
        """Return the rows of items that have an image, int32 [m]."""
        return np.fromiter(self._pictured, np.int32)

    def _pack(self, block: list[Item]) -> None:
        begins, parts, end = array("I", [0]), [], 0
        for item in block:
            part = _write(item)
            parts.append(part)
            end += len(part)
            begins.append(end)
        self._blocks.append(b"".join(parts))
        self._begins.append(begins)
        self._pictured.update(self._size + at for at, item in enumerate(block) if item.image)
        self._size += len(block)


def _write(item: Item) -> bytes:
    values = (
        item.item_id, item.key, item.title, item.text, item.domain, item.category, item.brand,
        item.price, item.available, item.provider, dict(item.attributes) or None, item.image,
    )  # fmt: skip
    return marshal.dumps(values, _FORMAT)


def _read(packed: bytes) -> Item:
    values = list(marshal.loads(packed))  # noqa: S302 -- our own bytes, never from outside
    values[-2] = values[-2] or {}
    return Item(*values)
