"""How short may the list be that the learned ranker looks at, and what is lost behind it?

Ranks an evaluation's questions by the ranker's network, over all candidates and over
shortlists as the gateway makes them (gateway/fusion/ranker.py): up to half are the
shopper's own, the others the weighted sum's best; the rest stands behind. Models, splits
and work directory are those of `plait evaluate`.

python -m benchmarks.shortlists var/data/complete-journey [--judge test] [--json FILE]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from artifacts.formulas import Floats
from artifacts.ranker.features import names
from benchmarks import machine
from benchmarks.command import ended, folder, output, write
from benchmarks.rankers import Judged, job_of, judged
from cli.failures import UserError
from cli.output import console, table
from gateway.fusion.ranker import shortlist
from models.fusion.ranker import ndcg
from models.fusion.tables import Table
from models.train import PRESETS

_PLACES = (10, 20, 50, 100)
_LENGTHS = (0, 400, 300, 200, 160, 120, 100, 80, 60)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--judge", default="validation", choices=("validation", "test"))
    parser.add_argument("--preset", default="demo", choices=PRESETS)
    parser.add_argument("--work", type=folder, default=Path("var/evaluate"))
    parser.add_argument("--json", type=output)
    options = parser.parse_args()
    return ended(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    given = judged(job_of(options.dataset, options.judge, options.preset, options.work))
    found = {length: quality(given, length) for length in _LENGTHS}
    shown = table("Shortlist", *(f">NDCG@{k}" for k in _PLACES))
    for length, values in found.items():
        shown.add_row(str(length) if length else "all", *(f"{v:.4f}" for v in values))
    console().print(shown)
    write(options.json, {
        "machine": machine.describe(), "judged": len(given.tables),
        "candidates": float(np.mean([len(t.target) for t in given.tables])),
        "ndcg": {str(n): dict(zip(map(str, _PLACES), v, strict=True)) for n, v in found.items()},
    })  # fmt: skip


def quality(given: Judged, length: int) -> list[float]:
    """Return mean NDCG at _PLACES with a shortlist of `length`; 0: all are ranked."""
    ranker = given.artifact.ranker_for("HOME")
    if ranker is None:
        raise UserError("The fusion has no learned ranker on this dataset")
    network, sources = ranker.network, tuple(given.engines)
    column = {name: number for number, name in enumerate(names(sources))}
    blend = np.zeros(len(column), np.float32)
    for source in sources:
        blend[column[f"{source}.score"]] = given.artifact.weights["HOME"].get(source, 0.0)
    values = []
    for question in given.tables:
        scores = network.score(question.features)
        if length and length < len(scores):
            scores = _behind(question, scores, (blend, column["times_112"]), length)
        values.append([ndcg(question, scores, k) for k in _PLACES])
    return [float(v) for v in np.mean(values, axis=0)]


def _behind(question: Table, scores: Floats, by: tuple[Floats, int], length: int) -> Floats:
    """Return scores of which those that are not on the shortlist are below all others."""
    blend, times = by
    summed, had = question.features @ blend, question.features[:, times]
    likeliest = np.argsort(-had, kind="stable")
    own = question.rows[likeliest[had[likeliest] > 0]]
    fine = np.ones(len(scores), np.bool_)
    best = shortlist(summed, fine, question.rows, own[: length // 2], length)
    placed: Floats = scores.min() - 2 + summed
    placed[best] = scores[best]
    return placed


if __name__ == "__main__":
    sys.exit(main())
