"""The network reads what an event was and when, if it is trained to and where it is known."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from artifacts import loader
from artifacts.engine import Answer, Question
from artifacts.engines.told import AGE, TYPE
from gateway.embedded import EmbeddedLink
from gateway.questions import RowAnswer, read_answers, write_questions
from gateway.replicas.contract import Contract
from gateway.types import EventType
from gateway.types import Question as Ask
from inference import inference_pb2 as pb
from models.codes import build_codes
from models.data.dataset import keyed
from models.data.errors import DatasetError
from models.data.interactions import TYPE_NUMBERS, interactions
from models.data.schema import EVENTS, ITEMS
from models.index import build_index
from models.progress import silent
from models.sequence.graph import (
    EXPORT_TOLERANCE,
    export_model,
    item_table,
    user_vectors,
)
from models.sequence.model import SequenceModel, Shape
from models.sequence.prepare import Windows, epoch
from models.sequence.told import Told, asked
from models.sequence.train import Config, train
from services.runtime.engine_model import EngineModel
from services.runtime.errors import InvalidArgument
from services.runtime.hosting import Limits
from services.runtime.tensors import write_request, write_response
from services.runtime.validation import read_request
from services.sequence.server import SOURCE

SHAPE = Shape(items=30, width=8, blocks=2, heads=2, length=12, dropout=0.0, types=True, gaps=True)
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, MONTH = 3_600.0, 30 * 86_400.0
HISTORY = torch.tensor([[0, 4, 7, 1], [5, 5, 2, 9]])
KINDS = torch.tensor([[0, 1, 4, 1], [4, 4, 1, 2]])
AGES = torch.tensor([[0.0, 9e5, 8e5, 100.0], [5e6, 4e6, 4e6, 1e5]])
TOLD = Told(KINDS, AGES)
CONFIG = Config(
    width=16, blocks=1, max_history=20, batch=16, places=20, horizon=1, targets=1, steps=150,
    learning_rate=2e-2, negatives=0, evaluations=1, finishing_steps=0, min_item_events=1,
    validation_users=20, repeats=False, types=True, gaps=True,
)  # fmt: skip


def model(shape: Shape = SHAPE, noise: float = 0.3) -> SequenceModel:
    torch.manual_seed(0)
    made = SequenceModel(shape)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
        made.items.weight[0] = 0
    return made.eval()


def events(rows: list[tuple[str, int, str, datetime]]) -> pl.DataFrame:
    """Events from (user, item, type, time)."""
    frame = pl.DataFrame(
        rows, schema={n: EVENTS[n] for n in ("user_id", "item_key", "type", "time")}, orient="row"
    )
    return frame.with_columns(
        order=pl.int_range(pl.len()).over("user_id"),
        quantity=pl.lit(1.0),
        price=pl.lit(None, pl.Float64),
        market=pl.lit("all"),
        query=pl.lit(None, pl.String),
        split=pl.lit(None, pl.String),
    ).select(*EVENTS)


def telling_shop(users: int = 80) -> pl.DataFrame:
    """What comes after item 1 depends on its type, and after item 2 on the time that passes."""
    draw = np.random.default_rng(0)
    rows: list[tuple[str, int, str, datetime]] = []
    for user in range(users):
        now = START + timedelta(days=float(draw.random()))
        for _ in range(6):
            viewed, soon = draw.random(2) < 0.5
            rows.append((f"u{user}", 1, "view" if viewed else "purchase", now))
            rows.append((f"u{user}", 3 if viewed else 4, "purchase", now + timedelta(hours=1)))
            rows.append((f"u{user}", 2, "purchase", now + timedelta(hours=2)))
            now += timedelta(hours=3) if soon else timedelta(days=30)
            rows.append((f"u{user}", 5 if soon else 6, "purchase", now))
            now += timedelta(hours=1)
    return events(rows)


def catalogue(size: int) -> pl.DataFrame:
    filled = {n: "" for n, kind in ITEMS.items() if kind == pl.String() and n != "item_id"}
    items = pl.DataFrame({"item_id": [str(i) for i in range(1, size + 1)], **filled})
    return keyed(
        items.with_columns(
            attributes=pl.lit("{}"), price=pl.lit(None, pl.Float64), available=pl.lit(value=True)
        )
    )


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    repository = tmp_path_factory.mktemp("told")
    yield train(CONFIG, catalogue(6), telling_shop(), repository, silent)


def question(keys: list[int], types: list[int], ages: list[float]) -> Question:
    return Question(
        history=np.array([keys], np.int64),
        history_weight=np.ones((1, len(keys)), np.float32),
        k=np.array([6]),
        history_type=np.array([types], np.int64),
        history_age=np.array([ages], np.float32),
    )


def best(answer: Answer, among: list[int]) -> int:
    assert answer.item_keys is not None
    return next(key for key in answer.item_keys[0].tolist() if key in among)


def test_types_are_numbered_as_in_the_api() -> None:
    assert {name: int(EventType[name.upper()]) for name in TYPE_NUMBERS} == TYPE_NUMBERS


def test_a_network_that_is_told_more_starts_as_the_one_that_is_not() -> None:
    torch.manual_seed(0)
    plain = SequenceModel(replace(SHAPE, types=False, gaps=False)).eval()
    more = SequenceModel(SHAPE).eval()
    more.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(more.scores(HISTORY, TOLD)[0], plain.scores(HISTORY)[0])


def test_unknown_types_are_all_one_and_an_unknown_age_is_not_a_recent_one() -> None:
    made = model()
    odd = TOLD._replace(type=torch.where(KINDS == 1, 99, KINDS))
    none = TOLD._replace(type=torch.where(KINDS == 1, 0, KINDS))
    torch.testing.assert_close(made.scores(HISTORY, odd)[0], made.scores(HISTORY, none)[0])
    unknown = TOLD._replace(age=torch.full_like(AGES, -1.0))
    recent = TOLD._replace(age=torch.zeros_like(AGES))
    scores = [made.scores(HISTORY, told)[0] for told in (unknown, recent, TOLD)]
    assert not torch.allclose(scores[0], scores[1])
    assert not torch.allclose(scores[1], scores[2])


def test_a_place_asks_when_its_next_event_came_and_the_last_one_now() -> None:
    assert asked(torch.tensor([[50.0, 20.0, 20.0, 5.0]])).tolist() == [[20.0, 20.0, 5.0, 0.0]]


def test_what_comes_later_does_not_change_an_earlier_state() -> None:
    made = model()
    kinds, ages = KINDS.clone(), AGES.clone()
    kinds[:, 3], ages[:, 3] = 5, 7.0
    later = Told(kinds, ages)
    before = made.states(HISTORY, TOLD)[:, :2]
    torch.testing.assert_close(made.states(HISTORY, later)[:, :2], before)
    # The third place asks at another time now.
    assert not torch.allclose(made.states(HISTORY, later)[:, 2], made.states(HISTORY, TOLD)[:, 2])


def test_padding_on_the_left_changes_nothing() -> None:
    made = model()
    short = Told(KINDS[:1, 1:], AGES[:1, 1:])
    alone = made.scores(HISTORY[:1, 1:], short)[0]
    torch.testing.assert_close(made.scores(HISTORY, TOLD)[0][:1], alone)


@pytest.mark.parametrize("only", [{"types": False}, {"gaps": False}, {"repeats": False}, {}])
def test_onnx_computes_what_torch_computes(tmp_path: Path, only: dict[str, Any]) -> None:
    made = model(replace(SHAPE, **only), noise=0.1)
    users = user_vectors(made, HISTORY.numpy(), TOLD)
    for build in (build_codes, build_index):
        finder = build(item_table(made), users)
        assert export_model(made, tmp_path / "model.onnx", finder) <= EXPORT_TOLERANCE


def test_a_batch_knows_the_types_and_how_long_before_what_followed_events_were() -> None:
    made = interactions(catalogue(6), telling_shop(users=1))
    (batch,) = epoch(made, Windows(1, 40, 4, 1, 1), np.random.default_rng(0))
    assert batch.told.age is not None
    assert batch.told.type is not None
    age = batch.told.age[0].tolist()
    # Whoever takes one event more into the history asks later.
    assert age == sorted(age, reverse=True)
    assert batch.told.type[0, 0] == made.type[0]
    assert age[-1] in {3_600.0, 30 * 86_400.0 - 2 * 3_600.0}


def test_an_artifact_answers_by_type_and_by_the_time_that_has_passed(artifact: Path) -> None:
    engine = loader.load(artifact)  # replays its samples
    assert {TYPE, AGE} <= {i.name for i in engine.manifest.inputs if i.optional}
    assert any(s.history_type and s.history_age for s in engine.manifest.samples)
    view, bought = int(EventType.VIEW), int(EventType.PURCHASE)
    assert best(engine.run(question([1], [view], [HOUR])), [3, 4]) == 3
    assert best(engine.run(question([1], [bought], [HOUR])), [3, 4]) == 4
    later = [MONTH + HOUR, MONTH]
    assert best(engine.run(question([3, 2], [bought] * 2, [2 * HOUR, HOUR])), [5, 6]) == 5
    assert best(engine.run(question([3, 2], [bought] * 2, later)), [5, 6]) == 6


def test_what_nobody_says_is_unknown_and_other_items_are_dropped_with_their_types(
    artifact: Path,
) -> None:
    engine = loader.load(artifact)
    said = question([3, 2], [0, 0], [-1.0, -1.0])
    silent_one = replace(said, history_type=None, history_age=None)
    np.testing.assert_array_equal(engine.run(said).scores, engine.run(silent_one).scores)
    known = question([1, 2], [1, 4], [MONTH, HOUR])
    mixed = question([1, 999, 2], [1, 5, 4], [MONTH, 2 * HOUR, HOUR])
    np.testing.assert_allclose(engine.run(mixed).scores, engine.run(known).scores, atol=1e-5)


def test_a_service_reads_both_pads_them_together_and_refuses_what_does_not_fit(
    artifact: Path,
) -> None:
    model = EngineModel.open("sequence", artifact)
    short = Ask(np.array([1]), np.ones(1, np.float32), k=6, history_type=np.array([1]),
                history_age=np.array([HOUR], np.float32))  # fmt: skip
    long = Ask(np.array([3, 2]), np.ones(2, np.float32), k=6)
    contract = Contract(
        "1", frozenset(i.name for i in model.inputs), frozenset(o.name for o in model.outputs)
    )
    asks = [short, long]
    requests = [write_questions("sequence", contract, [ask]) for ask in asks]
    requests.append(write_questions("sequence", contract, asks))
    alone_one, alone_two, both = (answers(model, [request]) for request in requests)
    together = answers(model, requests[:2])
    for found in (
        read_answers(both[0], asks),
        [*rows(together[0], short), *rows(together[1], long)],
    ):
        np.testing.assert_allclose(found[0].scores, rows(alone_one[0], short)[0].scores, atol=1e-5)
        np.testing.assert_allclose(found[1].scores, rows(alone_two[0], long)[0].scores, atol=1e-5)
    wrong = write_request("sequence", {"history": np.array([[1, 2]]), TYPE: np.array([[1]])})
    with pytest.raises(InvalidArgument, match=TYPE):
        model.read(read_request(wrong, model.inputs, 8), wrong.parameters)
    endless = np.array([[np.inf]], np.float32)
    wrong = write_request("sequence", {"history": np.array([[1]]), AGE: endless})
    with pytest.raises(InvalidArgument, match=AGE):
        model.read(read_request(wrong, model.inputs, 8), wrong.parameters)


async def test_a_gateway_that_holds_the_model_tells_it_the_same(artifact: Path) -> None:
    link = EmbeddedLink(SOURCE, artifact.parents[1], Limits(8, 8, 1.0, 2))
    await link.load()
    assert link.contract is not None
    ask = Ask(
        np.array([3, 2]), np.ones(2, np.float32), k=6,
        history_type=np.array([4, 4]), history_age=np.array([MONTH + HOUR, MONTH], np.float32),
    )  # fmt: skip
    request = write_questions("sequence", link.contract, [ask])
    found = read_answers(await link.infer(request, 5.0), [ask])[0]
    await link.stop()
    engine = loader.load(artifact)
    said = engine.run(question([3, 2], [4, 4], [MONTH + HOUR, MONTH]))
    np.testing.assert_allclose(found.scores, said.scores[0], atol=1e-5)


def rows(response: pb.ModelInferResponse, ask: Ask) -> list[RowAnswer]:
    return read_answers(response, [ask])


def answers(
    model: EngineModel, requests: list[pb.ModelInferRequest]
) -> list[pb.ModelInferResponse]:
    """What a service answers to requests that ride together."""
    asked = [model.read(read_request(r, model.inputs, 8), r.parameters) for r in requests]
    split = model.split(model.infer(model.merge(asked)), asked)
    return [write_response("sequence", "1", "", found) for found in split]


def test_gaps_need_times(tmp_path: Path) -> None:
    untimed = telling_shop(users=5).with_columns(time=pl.lit(None, EVENTS["time"]))
    with pytest.raises(DatasetError, match="gaps=false"):
        train(CONFIG, catalogue(6), untimed, tmp_path, silent)
