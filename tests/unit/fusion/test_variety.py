"""What variety a surface affords is learned from what it costs."""

import numpy as np

from gateway.fusion.diversify import diversify
from gateway.fusion.order import order
from gateway.fusion.pipeline import build_pool, run
from models.fusion.variety import DIVERSITIES, PLACES, Question, _ndcg, afford
from tests.unit.fusion.builders import columns, query, scored

# Twenty near-copies, then twenty that are like nothing.
VECTORS = np.concatenate([np.tile(np.eye(21, dtype=np.float32)[:1], (20, 1)),
                          np.eye(21, dtype=np.float32)[1:]])  # fmt: skip


def questions(count: int, *, alike: float, seed: int = 0) -> list[Question]:
    """Ten copies ahead of ten others; with chance `alike` the bought are copies."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        picked = np.concatenate([rng.permutation(20)[:10], 20 + rng.permutation(20)[:10]])
        scores = np.linspace(0.6, 0.5, 20).astype(np.float32)
        target = np.zeros(20, np.bool_)
        target[np.arange(3) + (0 if rng.random() < alike else 10)] = True
        made.append(Question(f"u{number}", scores, picked.astype(np.int32), target, 3))
    return made


def test_variety_is_taken_as_far_as_its_price_allows() -> None:
    costly = afford(questions(200, alike=1.0), VECTORS, 0.01)
    assert costly.diversity < 0.05
    assert costly.cost <= costly.most <= 0.01
    free = afford(questions(200, alike=0.3), VECTORS, 0.01)
    assert free.diversity == DIVERSITIES[-1]
    assert free.cost < 0
    dear = afford(questions(200, alike=1.0), VECTORS, 0.6)
    assert dear.diversity > costly.diversity


def test_few_shoppers_make_it_careful() -> None:
    many = afford(questions(4000, alike=0.55), VECTORS, 0.1)
    few = afford(questions(8, alike=0.55), VECTORS, 0.1)
    assert few.diversity < many.diversity
    assert afford(questions(1, alike=0.0), VECTORS, 0.1).diversity == 0
    assert afford([], VECTORS, 0.1).diversity == 0


def test_items_without_vectors_afford_none() -> None:
    assert afford(questions(50, alike=0.0), VECTORS[:, :0], 0.1).diversity == 0


def test_the_price_is_that_of_the_order_that_serves() -> None:
    found = scored(cf={row: 1 - row / 80 for row in range(40)})
    asked = query(columns=columns(vectors=VECTORS), limit=40, diversity=0.5)
    pool = run(asked, build_pool(asked, found))
    served = pool.rows[order(asked, diversify(asked, pool)).order[:PLACES]]
    for target in range(40):
        question = Question("u", pool.total, pool.rows, pool.rows == target, 1)
        place = np.flatnonzero(served == target)
        expected = 1 / np.log2(place[0] + 2) if len(place) else 0.0
        assert abs(_ndcg(question, VECTORS, 0.5) - expected) < 1e-6
    assert served.max() >= 20 > pool.rows[np.argsort(-pool.total)[:PLACES]].max()
