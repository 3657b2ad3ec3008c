"""Does a ranker that knows where shoppers look learn more from what they click?

Questions, candidates and purchases are a shop's own; examination is simulated, since only
then is the truth known. The weighted sum of an artifact shows 20 of a question's candidates,
several times, some sources missing at times as they do; what was really bought is followed
if its place is looked at, with probability place ** -examination. From the log of that, in
the gateway's format, the curve is estimated (models/fusion/propensity.py), and the ranker
learns from what followed with and without it, and from all purchases. Some shoppers judge,
by all that they bought. Models are those of `plait train`.

python -m benchmarks.position_bias var/data/complete-journey var/models [--json FILE]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from artifacts import layout
from artifacts.formulas import Floats
from artifacts.fusion import FusionArtifact, load_fusion
from artifacts.ranker.answers import WIDTH
from benchmarks import machine
from benchmarks.command import above_0, count, count_or_0, ended, from_0, output, write
from cli.failures import UserError
from cli.output import console, table
from models.data.dataset import load_dataset
from models.evaluate.bootstrap import Resampling
from models.fusion.asked import Questions, moments
from models.fusion.cases import Setting
from models.fusion.catalogue import MarketTrends, domain_tables, make_catalogue
from models.fusion.config import Config, quantiles_of, readers
from models.fusion.exposures import learn_weights
from models.fusion.network import train_network
from models.fusion.propensity import Examination
from models.fusion.ranker import ndcg
from models.fusion.rankers import known_of
from models.fusion.tables import Table, make_tables
from models.fusion.train import held_out, load_sources
from models.progress import silent

_SHOWN, _K, _JUDGES = 20, 10, 0.3
_PLACES = (1, 2, 3, 5, 10, 20)
Rng = np.random.Generator


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--shoppers", type=count, default=1_500)
    parser.add_argument("--pages", type=count, default=4, help="pages shown for each question")
    parser.add_argument("--examination", type=from_0, default=1.0)
    parser.add_argument("--most", type=above_0, default=Config().exposure_most, help="a weight")
    parser.add_argument("--seed", type=count_or_0, default=0)
    parser.add_argument("--json", type=output)
    options = parser.parse_args()
    return ended(lambda: _work(options))


def _work(options: argparse.Namespace) -> None:
    config = Config(moments=1, ranker_users=options.shoppers, seed=options.seed)
    tables, artifact, sources = questions(options.dataset, options.repository, config)
    result = compared(tables, (artifact, sources), config, options)
    show(result)
    write(options.json, {"machine": machine.describe(), **result})


def questions(
    dataset: Path, repository: Path, config: Config
) -> tuple[list[Table], FusionArtifact, tuple[str, ...]]:
    """Ask the sources about the window that none of them has seen."""
    data, engines = load_dataset(dataset), load_sources(repository)
    artifact = load_fusion(layout.find(repository, "fusion"))
    window = held_out(data, engines)
    if not window.wanted.height:
        raise UserError("Nothing is held out from these models: train them without --refit")
    asked = {name: engines[name] for name in readers(engines)}
    catalogue = make_catalogue(data.items, artifact.vectors)
    quantiles = {name: quantiles_of(engine) for name, engine in asked.items()}
    past, _ = domain_tables(catalogue, window.known, ordered=True)
    trends = MarketTrends(catalogue, data.events, config.trend_half_life_days)
    setting = Setting(catalogue, quantiles, config.asking, past, trends=trends, leads=True)
    known = known_of(data, setting, window)
    tasks = [*map(Questions, moments(config, window, exclude_seen=False))]
    return make_tables(config, tasks, asked, known, silent), artifact, tuple(asked)


def compared(
    tables: Sequence[Table],
    blend: tuple[FusionArtifact, tuple[str, ...]],
    config: Config,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Simulate, learn in three ways, and judge."""
    rng = np.random.default_rng(options.seed)
    artifact, sources = blend
    weights = np.array([artifact.weights["HOME"].get(source, 0.0) for source in sources])
    judge = rng.random(len(tables)) < _JUDGES
    learning = [t for t, out in zip(tables, judge, strict=True) if not out]
    judging = [t for t, out in zip(tables, judge, strict=True) if out]
    lines, clicked = shown(learning, weights, rng, (options.pages, options.examination))
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "exposures.jsonl"
        log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        weigh, found = learn_weights([log], options.most)
    told = [t for t in clicked if t.target.any()]
    numbers = [number for number, t in enumerate(clicked) if t.target.any()]
    corrected = [
        replace(t, weight=weigh(str(number), _keys(number, t), 0.0))
        for number, t in zip(numbers, told, strict=True)
    ]
    values = {"weighted sum": [ndcg(t, _blended(t, weights), _K) for t in judging]}
    for name, learned in (
        ("what followed", told),
        ("what followed, corrected", corrected),
        ("all purchases", learning),
    ):
        network = train_network(config, learned, len(sources), silent)
        values[name] = [ndcg(t, network.score(t.features), _K) for t in judging]
    return {
        "learning": len(told), "judging": len(judging), "followed": found.followed,
        "curve": _curve(found, options.examination),
        "rows": _rows({name: np.array(v) for name, v in values.items()}),
    }  # fmt: skip


def shown(
    tables: Sequence[Table], weights: np.ndarray, rng: Rng, how: tuple[int, float]
) -> tuple[list[dict[str, Any]], list[Table]]:
    """Return the lines of a log, and each question with what followed from its last page."""
    pages, power = how
    looked_at = np.arange(1, _SHOWN + 1) ** -power
    lines: list[dict[str, Any]] = []
    clicked = []
    for number, asked in enumerate(tables):
        hits = np.zeros(0, np.int64)
        for visit in range(pages - 1, -1, -1):  # the last page is at 0 and has all sources
            there = np.ones(len(weights), np.bool_) if not visit else _some(rng, len(weights))
            order = np.argsort(-_blended(asked, weights * there), kind="stable")[:_SHOWN]
            looked = rng.random(_SHOWN)[: len(order)] < looked_at[: len(order)]
            hits = order[asked.target[order] & looked]
            name, user, keys = f"{number}-{visit}", str(number), _keys(number, asked)
            lines.append({
                "time": float(-visit), "ranking_id": name, "user_id": user, "surface": "HOME",
                "first_position": 1, "item_ids": [str(key) for key in keys[order]],
            })  # fmt: skip
            lines += [
                {"time": float(-visit), "ranking_id": name, "user_id": user,
                 "item_id": str(keys[hit]), "event": "purchase"}
                for hit in hits
            ]  # fmt: skip
        target = np.isin(np.arange(len(asked.target)), hits)
        clicked.append(replace(asked, target=target, wanted=max(len(hits), 1)))
    return lines, clicked


def _some(rng: Rng, sources: int) -> np.ndarray:
    """Leave each source out half of the time, but not all."""
    there = rng.random(sources) < 0.5
    there[rng.integers(sources)] = True
    return there


def _blended(asked: Table, weights: np.ndarray) -> Floats:
    """Return the weighted sum of the sources' scores, which come first of each one's features."""
    scores: Floats = asked.features[:, 0 : WIDTH * len(weights) : WIDTH] @ weights.astype(
        np.float32
    )
    return scores


def _keys(number: int, asked: Table) -> np.ndarray:
    """Name a question's candidates: an item of another question is another."""
    return 1 + 1_000_000 * number + asked.rows.astype(np.int64)


def _curve(found: Examination, power: float) -> dict[str, tuple[float, float]]:
    """Return the estimated and the true chance of some places."""
    return {str(place): (found.at(place), place**-power) for place in _PLACES}


def _rows(values: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return each row's NDCG, and the interval of its difference to learning from clicks."""
    plain = values["what followed"]
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(plain), (Resampling().draws, len(plain)))
    rows = {}
    for name, mine in values.items():
        gaps = np.quantile((mine - plain)[picks].mean(axis=1), [0.025, 0.975])
        rows[name] = {"ndcg@10": float(mine.mean()), "minus_plain": gaps.tolist()}
    return rows


def show(result: dict[str, Any]) -> None:
    out = console()
    curve = table("Place", *(f">{place}" for place in result["curve"]))
    for number, name in enumerate(("estimated", "true")):
        curve.add_row(name, *(f"{pair[number]:.2f}" for pair in result["curve"].values()))
    out.print(curve)
    made = table("Learned from", ">NDCG@10", ">minus what followed, 95%")
    for name, row in result["rows"].items():
        low, high = row["minus_plain"]
        gap = "" if name == "what followed" else f"{low:+.4f} to {high:+.4f}"
        made.add_row(name, f"{row['ndcg@10']:.4f}", gap)
    out.print(made)
    out.print(
        f"  {result['learning']:,} questions in which something followed, "
        f"{result['followed']:,} followed exposures; {result['judging']:,} judge"
    )


if __name__ == "__main__":
    sys.exit(main())
