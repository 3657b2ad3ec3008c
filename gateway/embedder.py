"""Has new items placed by the models, at once where that works and later where not.

One worker per source takes whatever lacks a vector, asks the source's encoder
(model NAME-items), and makes the vectors durable before they count. An upsert
only waits for the workers; a source that is away delays nobody, its vectors
follow when it is back or in another version.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum

import grpc
import numpy as np

from artifacts.item_text import item_text
from gateway.errors import StoreError
from gateway.fusion.types import Floats
from gateway.link import Link
from gateway.new_items import NewItems
from gateway.replicas.errors import ReplicaError
from gateway.sources import BY_A_ROW
from gateway.store import Store
from gateway.types import Item
from services.runtime.errors import PlaitError
from services.runtime.logs import Seldom
from services.runtime.metrics import EMBEDDED_ITEMS
from services.runtime.tensors import Array, TensorError, read_outputs, write_request

_log = logging.getLogger(__name__)
# Items per call: what services take, in well under a second.
_BATCH = 32
# Calls that an encoder may refuse before it is given a rest: it may refuse everything.
_MOST_REFUSED = 8
_CALL_SECONDS = 10.0
_LONGEST_TEXT = 2_000
_IMAGE = "image_vector"


class _Placed(Enum):
    """What became of a batch."""

    YES = "yes"
    REFUSED = "refused"  # maybe because of one item in it
    NO = "no"


class Embedder:
    """Keeps every new item placed by the version of each source that serves."""

    def __init__(
        self,
        connections: Mapping[str, Link],
        new_items: NewItems,
        store: Store,
        *,
        retry_ms: int,
    ) -> None:
        """`connections` by source, those that place new items."""
        self._connections = connections
        self._new_items = new_items
        self._store = store
        self._retry = retry_ms / 1000
        self._wake = {name: asyncio.Event() for name in connections}
        self._failures = dict.fromkeys(connections, 0)
        # Sources that gave no answer when they were asked last: nobody waits for these.
        self._away: set[str] = set()
        self._seldom = {name: Seldom() for name in connections}
        # By source and key what was refused alone: asked about last, and not with others.
        self._refused: dict[str, dict[int, Item]] = {name: {} for name in connections}
        # (source, version its model says) -> version its encoder says: the same, unless a
        # foreign server counts them apart, which must not have it asked without end.
        self._made_by: dict[tuple[str, str], str] = {}
        self._progress = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers."""
        for name in self._connections:
            self._tasks.append(asyncio.create_task(self._work(name), name=f"embed-{name}"))

    async def stop(self) -> None:
        """Stop the workers."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def poke(self) -> None:
        """Look for items without vectors now."""
        for event in self._wake.values():
            event.set()

    async def image_widths(self) -> set[int]:
        """Return how many numbers the images have that models read; of those reachable."""
        found: set[int] = set()
        for name, connection in self._connections.items():
            with contextlib.suppress(grpc.aio.AioRpcError, PlaitError, ReplicaError):
                found.add((await connection.describe(f"{name}-items")).width(_IMAGE))
        return found - {0}

    async def settle(self, keys: Sequence[int], seconds: float) -> int:
        """Wait until each source has placed these items or failed; return how many are placed.

        An item counts once one source has placed it. A source that has failed before and not
        answered since is not waited for.
        """
        wanted = set(keys)
        before = dict(self._failures)
        self.poke()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while any(self._unsettled(name, wanted, before) for name in self._connections):
                    progress = self._progress
                    await progress.wait()
        return self._new_items.embedded(keys)

    def _unsettled(self, name: str, wanted: set[int], before: Mapping[str, int]) -> bool:
        if name in self._away or self._failures[name] != before[name]:
            return False
        return self._new_items.lacks(name, wanted)

    async def _work(self, name: str) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._retry):
                    await self._wake[name].wait()
            self._wake[name].clear()
            if not await self._pass(name):
                await asyncio.sleep(self._retry)

    async def _pass(self, name: str) -> bool:
        """Have all that lack a vector placed; say whether the source is worth asking on."""
        batches, refused = self._batches(name), 0
        if not batches:
            self._away.discard(name)  # that may be over: whoever comes next finds out
        while batches:
            batch = batches.popleft()
            placed = await self._place(name, batch)
            if placed is _Placed.NO:
                self._away.add(name)
            else:
                self._away.discard(name)
            if placed is _Placed.YES:
                continue
            self._failures[name] += 1
            self._tell()
            refused += 1
            if placed is _Placed.NO or refused >= _MOST_REFUSED:
                return False
            if len(batch) == 1:
                self._refused[name][batch[0].key] = batch[0]
            else:  # halves find the one that is refused
                half = len(batch) // 2
                batches.extendleft((batch[half:], batch[:half]))
        return True

    def _batches(self, name: str) -> deque[Sequence[Item]]:
        """Return what lacks a vector, newest first, and alone what was refused before."""
        missing = self._new_items.missing(name, self._version(name))
        refused = self._refused[name]
        alone = [item for item in missing if refused.get(item.key) is item]
        self._refused[name] = {item.key: item for item in alone}
        others = [item for item in missing if item.key not in self._refused[name]]
        cut = [others[start : start + _BATCH] for start in range(0, len(others), _BATCH)]
        return deque((*cut, *([item] for item in alone)))

    def _version(self, name: str) -> str:
        """Return the version vectors should be of; "" while that is unknown."""
        contract = self._connections[name].contract
        served = contract.version if contract else ""
        return self._made_by.get((name, served), served)

    async def _place(self, name: str, items: Sequence[Item]) -> _Placed:
        """Have one batch placed; say whether that worked."""
        contract = self._connections[name].contract
        try:
            version, vectors = await encode(self._connections[name], items)
            # What was reworded meanwhile must not have its old vector at the next start.
            current = self._new_items.current(items)
            items, vectors = [items[at] for at in current], vectors[current]
            await self._store.put_embeddings(name, version, [i.key for i in items], vectors)
        except (grpc.aio.AioRpcError, PlaitError, ReplicaError, TensorError, StoreError) as error:
            reason = error.code().name if isinstance(error, grpc.aio.AioRpcError) else str(error)
            if self._seldom[name].news(reason):  # it is tried again every second or two
                _log.warning(
                    "new items not placed yet",
                    extra={"source": name, "items": len(items), "reason": reason},
                )
            return _Placed.REFUSED if _by_an_item(error) else _Placed.NO
        except Exception as error:  # a worker that dies would leave new items out for good
            if self._seldom[name].news(error):
                _log.exception("placing new items failed", extra={"source": name})
            return _Placed.NO
        if contract is not None:
            self._made_by[name, contract.version] = version
        self._new_items.put_vectors(name, version, items, vectors)
        self._tell()
        return _Placed.YES

    def _tell(self) -> None:
        EMBEDDED_ITEMS.set(self._new_items.placed())
        self._progress.set()
        self._progress = asyncio.Event()


def _by_an_item(error: Exception) -> bool:
    """Say whether one item may have caused it, so that others could be placed."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in BY_A_ROW
    if isinstance(error, PlaitError):
        return error.status in BY_A_ROW
    return isinstance(error, TensorError)


async def encode(connection: Link, items: Sequence[Item]) -> tuple[str, Floats]:
    """Ask a source's encoder for the vectors of items: (model version, float32 [m, d]).

    Raises what `Link.ask` does, and TensorError where the answer does not fit.
    """
    model = f"{connection.name}-items"
    contract = await connection.describe(model)
    texts = [item_text(i.title, i.brand, i.category, i.domain, i.text) for i in items]
    have: dict[str, Array] = {
        "text": _texts([text[:_LONGEST_TEXT] for text in texts]),
        "category": _texts([i.category for i in items]),
        "brand": _texts([i.brand for i in items]),
        "domain": _texts([i.domain for i in items]),
        "provider": _texts([i.provider for i in items]),
        "price": np.array([[np.nan if i.price is None else i.price] for i in items], np.float32),
    }
    if width := contract.width(_IMAGE):
        have[_IMAGE] = _images(items, width)
    inputs = {name: array for name, array in have.items() if name in contract.inputs}
    response = await connection.infer(write_request(model, inputs), _CALL_SECONDS)
    vectors = read_outputs(response).get("embedding")
    if vectors is None or vectors.dtype != np.float32 or vectors.shape[:1] != (len(items),):
        raise TensorError(f"embedding: wanted FP32 [{len(items)}, d] from {model}")
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise TensorError(f"embedding: not finite, or not two-dimensional, from {model}")
    return response.model_version, vectors.astype(np.float32)


def _images(items: Sequence[Item], width: int) -> Floats:
    """Return the images [m, width]; a zero row where there is none of that length."""
    found = np.zeros((len(items), width), np.float32)
    for row, item in enumerate(items):
        image = np.frombuffer(item.image, "<f4")
        if len(image) == width:
            found[row] = image
        elif len(image):
            # It was given for a model of another length: by the rest it can be placed.
            _log.warning("image of another length left out", extra={"item": item.item_id})
    return found


def _texts(values: Sequence[str]) -> Array:
    column = np.empty((len(values), 1), object)
    column[:, 0] = [value.encode() for value in values]
    return column
