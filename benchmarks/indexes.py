"""Which index finds most of the exact best for the least CPU, and from which size is it worth it?

Vectors are made up with the structure of trained ones: clusters of clusters of
unlike size, lengths from 1 to 1.5; users are means of what they liked in one to
three clusters. Compared at one core, a user at a time: exact scoring, the two ways in
which Plait serves (a look at all in 8 bits, artifacts/engines/scan.py, and lists,
artifacts/engines/nearest.py), and, where they are installed (pip install faiss-cpu
usearch), HNSW in its usual settings.

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
python -m benchmarks.indexes [--sizes 20000,100000] [--width 64] [--batch 16] [--json FILE]
"""

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from artifacts.engine import Scores
from artifacts.engines.nearest import Ints, NearestSearch
from artifacts.engines.scan import ScanSearch
from artifacts.engines.search import Search as Finding
from benchmarks import machine
from benchmarks.command import count, counts, output, write
from cli.output import console, table
from models.codes import build_codes
from models.index import K, build_index, exact_best, save_index

Search = Callable[[Scores], Ints]  # users [B, d] -> rows 0 .. [B, K]
_USERS = 400
_EFFORTS = (100, 200, 400)


def shop(size: int, width: int, seed: int = 0) -> tuple[Scores, Scores]:
    """Return item vectors [size, width] and user vectors [400, width]."""
    random = np.random.default_rng(seed)
    count = max(50, int(2 * size**0.5))
    tops = random.standard_normal((max(8, count // 40), width), np.float32)
    centres = tops[random.integers(0, len(tops), count)]
    centres = centres + 0.8 * random.standard_normal(centres.shape, np.float32)
    weight = 1 / np.arange(1, count + 1) ** 0.7
    member = random.choice(count, size, p=weight / weight.sum())
    items = centres[member] + 0.7 * random.standard_normal((size, width), np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    own = random.standard_normal(items.shape, np.float32)
    own *= random.random((size, 1), np.float32) / np.linalg.norm(own, axis=1, keepdims=True)
    items += 0.5 * own
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(count + 1))
    users = np.zeros((_USERS, width), np.float32)
    for at in range(_USERS):
        for cluster in member[random.integers(0, size, random.integers(1, 4))]:
            liked = order[random.integers(starts[cluster], starts[cluster + 1], 5)]
            users[at] += items[liked].sum(axis=0)
    users += 0.1 * random.standard_normal(users.shape, np.float32)
    return items, users / np.linalg.norm(users, axis=1, keepdims=True)


def candidates(items: Scores, users: Scores) -> Iterator[tuple[str, float, float, Search]]:
    """Yield (name, CPU-seconds to build, bytes an item beside the vectors, search)."""
    yield "exact", 0.0, 0.0, _exact(items)
    with tempfile.TemporaryDirectory() as name:
        began = time.process_time()
        codes = build_codes(items, users[: _USERS // 2])
        took = time.process_time() - began
        save_index(Path(name), items, codes)
        scan = ScanSearch(Path(name))
        yield "8 bits", took, float(items.shape[1]), _found(scan, codes.order)
    began = time.process_time()
    index = build_index(items, users[: _USERS // 2])
    took = time.process_time() - began
    table, order = items[index.order], index.order
    for probes in (index.probes // 2, index.probes, 2 * index.probes):
        search = NearestSearch(table, index.lists, probes)
        extra = sum(a.nbytes for a in (index.lists.starts, index.lists.centres)) / len(items)
        name = f"lists, {probes} of {len(index.lists.centres)}"
        yield name, took, extra, _found(search, order)
    for package, build in (("faiss", _faiss), ("usearch", _usearch)):
        if importlib.util.find_spec(package) is not None:
            yield from build(items)


def _exact(items: Scores) -> Search:
    def search(users: Scores) -> Ints:
        scores = users @ items.T
        return np.argpartition(scores, -K, axis=1)[:, -K:]

    return search


def _found(search: Finding, order: Ints) -> Search:
    return lambda users: order[search.search(users, K)[0] - 1]


def _faiss(items: Scores) -> Iterator[tuple[str, float, float, Search]]:
    import faiss  # noqa: PLC0415 -- not a dependency

    faiss.omp_set_num_threads(1)
    for links in (16, 32):
        began, before = time.process_time(), _memory()
        index: Any = faiss.IndexHNSWFlat(items.shape[1], links, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.add(items)
        took, extra = time.process_time() - began, (_memory() - before) / len(items)
        for effort in _EFFORTS:
            index.hnsw.efSearch = effort
            yield f"faiss HNSW{links}, ef {effort}", took, extra, _hnsw(index)


def _hnsw(index: Any) -> Search:
    return lambda users: np.asarray(index.search(users, K)[1])


def _usearch(items: Scores) -> Iterator[tuple[str, float, float, Search]]:
    from usearch.index import Index  # noqa: PLC0415 -- not a dependency

    began, before = time.process_time(), _memory()
    index: Any = Index(
        ndim=items.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=200
    )
    index.add(np.arange(len(items)), items, threads=1)
    took, extra = time.process_time() - began, (_memory() - before) / len(items)

    def search(users: Scores) -> Ints:
        return np.asarray(index.search(users, K, threads=1).keys).reshape(len(users), -1)

    for effort in _EFFORTS:
        index.expansion_search = effort
        yield f"usearch HNSW16, ef {effort}", took, extra, search


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)


def measure(size: int, width: int, batch: int) -> list[dict[str, Any]]:
    """Return a line per index; recall and time are taken from users it was not tuned on."""
    items, users = shop(size, width)
    asked = users[_USERS // 2 :]
    wanted = exact_best(items, asked, K) - 1
    lines = []
    for name, built, extra, search in candidates(items, users):
        search(asked[:5])
        began = time.process_time()
        found = [search(asked[at : at + batch]) for at in range(0, len(asked), batch)]
        took = time.process_time() - began
        pairs = zip(np.concatenate(found), wanted, strict=True)
        hits = [np.isin(want, have).mean() for have, want in pairs]
        lines.append({
            "items": size, "index": name, "recall@100": float(np.mean(hits)),
            "cpu_ms": 1000 * took / len(asked), "build_cpu_s": built, "bytes_per_item": extra,
        })  # fmt: skip
    return lines


def main() -> None:
    """Run as a module; see above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=counts, default="20000,50000,100000")
    parser.add_argument("--width", type=count, default=64)
    parser.add_argument("--batch", type=count, default=1, help="users at a time")
    parser.add_argument("--json", type=output, metavar="FILE", help="write everything here as well")
    arguments = parser.parse_args()
    lines = [line for n in arguments.sizes for line in measure(n, arguments.width, arguments.batch)]
    shown = table(">Items", "Index", ">Recall@100", ">CPU ms", ">Build s", ">More B/item")
    for line in lines:
        shown.add_row(
            f"{line['items']:,}", line["index"], f"{line['recall@100']:.4f}",
            f"{line['cpu_ms']:.3f}", f"{line['build_cpu_s']:.1f}", f"{line['bytes_per_item']:.0f}",
        )  # fmt: skip
    console().print(shown)
    how = {"machine": machine.describe(), "width": arguments.width, "batch": arguments.batch}
    write(arguments.json, {**how, "lines": lines})


if __name__ == "__main__":
    main()
