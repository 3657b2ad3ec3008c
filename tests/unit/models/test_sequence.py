"""The sequence model learns what follows, copies what repeats, and is exported faithfully."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts import loader
from artifacts.engine import Question
from artifacts.session import open_session
from models.codes import build_codes
from models.curves import curves_of
from models.data.dataset import keyed
from models.data.errors import DatasetError, OptionError
from models.data.interactions import interactions
from models.data.schema import EVENTS, ITEMS
from models.index import build_index
from models.options import with_options
from models.progress import silent
from models.sequence.encoders import ENCODERS
from models.sequence.features import item_features
from models.sequence.graph import (
    EXPORT_TOLERANCE,
    export_model,
    item_table,
    probe,
    user_vectors,
)
from models.sequence.loss import Negatives, negative_probability, next_loss
from models.sequence.model import SequenceModel, Shape, settle
from models.sequence.prepare import Windows, epoch, spectral_vectors
from models.sequence.train import Config, fixed, train

SMALL = Shape(items=30, width=8, blocks=2, heads=2, length=12, dropout=0.0)
START = datetime(2026, 1, 1, tzinfo=UTC)


def catalogue(size: int) -> pl.DataFrame:
    filled = {n: "" for n, kind in ITEMS.items() if kind == pl.String() and n != "item_id"}
    items = pl.DataFrame({"item_id": [str(i) for i in range(1, size + 1)], **filled})
    return keyed(
        items.with_columns(
            attributes=pl.lit("{}"), price=pl.lit(None, pl.Float64), available=pl.lit(value=True)
        )
    )


def purchases(histories: list[list[list[int]]]) -> pl.DataFrame:
    """One list per user, of baskets, of item numbers."""
    rows = []
    for user, baskets in enumerate(histories):
        order = 0
        for day, basket in enumerate(baskets):
            for item in basket:
                rows.append((f"u{user:03}", item, START + timedelta(days=day), order))
                order += 1
    frame = pl.DataFrame(
        rows, schema={n: EVENTS[n] for n in ("user_id", "item_key", "time", "order")}, orient="row"
    )
    return frame.with_columns(
        type=pl.lit("purchase"),
        quantity=pl.lit(1.0),
        price=pl.lit(None, pl.Float64),
        market=pl.lit("all"),
        query=pl.lit(None, pl.String),
        split=pl.lit(None, pl.String),
    ).select(*EVENTS)


def cycles(users: int = 60, items: int = 20, length: int = 15) -> pl.DataFrame:
    """Everyone walks round the items from a start of their own: what follows is certain."""
    return purchases(
        [[[1 + (user + step) % items] for step in range(length)] for user in range(users)]
    )


def walks(lengths: list[int]) -> pl.DataFrame:
    """Users who walk round 20 items for so many steps each."""
    return purchases(
        [[[1 + (u + step) % 20] for step in range(length)] for u, length in enumerate(lengths)]
    )


def numbers() -> np.random.Generator:
    return np.random.default_rng(0)


def model(shape: Shape = SMALL) -> SequenceModel:
    torch.manual_seed(0)
    made = SequenceModel(shape)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        made.items.weight[0] = 0
    return made.eval()


every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


@every_encoder
def test_what_comes_later_does_not_change_an_earlier_state(encoder):
    made = model(replace(SMALL, encoder=encoder))
    history = torch.tensor([[1, 2, 3, 4, 5]])
    other = torch.tensor([[1, 2, 3, 9, 8]])
    torch.testing.assert_close(made.states(history)[:, :3], made.states(other)[:, :3])


@every_encoder
def test_padding_on_the_left_changes_nothing(encoder):
    made = model(replace(SMALL, encoder=encoder))
    short, padded = torch.tensor([[3, 1, 2]]), torch.tensor([[0, 0, 0, 3, 1, 2], [1] * 6])
    torch.testing.assert_close(made.scores(short)[0], made.scores(padded)[0][:1])


@every_encoder
def test_the_newest_state_alone_is_the_last_of_all_states(encoder):
    made = model(replace(SMALL, encoder=encoder))
    history = torch.tensor([[0, 4, 7, 1], [5, 5, 2, 9]])
    alone = made.states(history, newest_only=True)
    torch.testing.assert_close(alone[:, 0], made.states(history)[:, -1])


def test_the_order_of_a_history_matters_to_every_encoder():
    for encoder in ENCODERS:
        made = model(replace(SMALL, encoder=encoder))
        forth, back = (made.scores(torch.tensor([h]))[0] for h in ([4, 7, 1], [7, 4, 1]))
        assert not torch.allclose(forth, back)


def test_cosine_scores_are_bounded_by_the_temperature_and_the_same_once_settled():
    made = model(replace(SMALL, temperature=0.1, repeats=False))
    history = torch.tensor([[0, 4, 7, 1], [5, 5, 2, 9]])
    scores = made.scores(history)[0]
    assert ((scores - made.bias)[:, 1:].abs() <= 10.0 + 1e-4).all()
    torch.testing.assert_close(settle(made).scores(history)[0], scores)


def test_what_is_said_of_items_is_counted_where_it_tells_some_from_others():
    items = catalogue(4).with_columns(
        domain=pl.lit("all the same"),
        brand=pl.Series(["a", "a", "b", ""]),
        attributes=pl.Series(['{"red": "yes"}', "{}", '{"red": "yes"}', '{"odd": "yes"}']),
    )
    keys = items["item_key"].sort().to_numpy()
    rows = dict(zip(keys.tolist(), item_features(items, keys)[1:].tolist(), strict=True))
    one, two, three, four = (rows[key] for key in items["item_key"].to_list())
    assert len(set(one) - {0}) == 2
    assert set(one) - {0} == (set(two) | set(three)) - {0}
    assert four == [0, 0]


def test_items_of_which_the_same_is_said_are_near_each_other_and_alike_once_settled():
    torch.manual_seed(0)
    shape = replace(SMALL, items=4, repeats=False)
    made = SequenceModel(shape, torch.tensor([[0, 0], [1, 2], [1, 2], [3, 0], [0, 0]])).eval()
    assert made.features is not None
    with torch.no_grad():
        made.features.bag.weight.mul_(100)
        made.features.bag.weight[0] = 0
    apart = torch.cdist(made.all_vectors(), made.all_vectors())
    assert apart[1, 2] < 0.5 * apart[1, 3]
    torch.testing.assert_close(made.vectors(torch.tensor([4])), made.items.weight[4:])
    history = torch.tensor([[1, 3, 4]])
    settled = settle(made)
    assert settled.features is None
    torch.testing.assert_close(settled.scores(history)[0], made.scores(history)[0])


@every_encoder
def test_an_empty_history_is_answered_without_a_nan(encoder):
    made = model(replace(SMALL, encoder=encoder))
    scores, state = made.scores(torch.zeros(2, 4, dtype=torch.int64))
    assert torch.isfinite(scores).all()
    assert torch.isfinite(state).all()


def test_copying_raises_items_of_the_history_only_and_more_the_more_often():
    made, history = model(), torch.tensor([[4, 7, 4, 4]])
    with_copies = made.scores(history)[0]
    state = made.states(history, newest_only=True)[:, 0]
    drawn = state @ made.items.weight.t() + made.bias
    gain = (with_copies - drawn)[0]
    others = [row for row in range(31) if row not in {4, 7}]
    torch.testing.assert_close(gain[others], torch.zeros(len(others)), atol=1e-5, rtol=0)
    assert gain[7] > 0
    copied = torch.exp(with_copies) - torch.exp(drawn)
    assert copied[0, 4] > copied[0, 7]


def test_the_embedding_times_item_vector_and_bias_is_the_score():
    made, history = model(), torch.tensor([[4, 7, 2]])
    rows = torch.tensor([[1, 9, 30]])
    embedding = torch.from_numpy(user_vectors(made, history.numpy()))
    vectors = torch.from_numpy(item_table(made))
    scores, _ = made.scores(history)
    torch.testing.assert_close(scores[:, rows[0]], embedding @ vectors[rows[0] - 1].t())


@pytest.mark.parametrize(
    "variant",
    [
        {"repeats": True},
        {"repeats": False, "temperature": 0.1},
        {"encoder": "gru", "temperature": 0.1},
        {"encoder": "lstm", "repeats": False},
    ],
    ids=str,
)
def test_onnx_computes_what_torch_computes_for_any_shape(tmp_path, variant):
    # Trained with dropout, which what is exported must know nothing of.
    made = model(replace(SMALL, dropout=0.5, **variant))
    users = user_vectors(made, np.array([[0, 4, 7], [5, 2, 9], [1, 2, 3]]))
    for build in (build_codes, build_index):
        finder = build(item_table(made), users)
        assert export_model(made, tmp_path / "model.onnx", finder) <= EXPORT_TOLERANCE
        session = open_session(tmp_path / "model.onnx")
        for shape in ((1, 1, 1), (5, 3, 2), (2, 12, 9)):
            history, places = probe(made, *shape)
            wanted = torch.from_numpy(np.append(0, finder.order + 1))[places]
            with torch.no_grad():
                ours = made.scores(torch.from_numpy(np.append(0, finder.order + 1))[history])[0]
            feed = {"history": history.numpy(), "candidates": places.numpy()}
            (theirs,) = session.run(["candidate_scores"], feed)
            expected = ours.gather(1, wanted).numpy()
            there = places.numpy() > 0
            np.testing.assert_allclose(theirs[there], expected[there], atol=EXPORT_TOLERANCE)


@pytest.mark.parametrize("repeats", [True, False])
def test_the_sampled_loss_comes_near_the_full_loss_with_many_negatives(repeats):
    made = model(Shape(items=30, width=8, length=12, dropout=0.0, repeats=repeats))
    data = interactions(catalogue(20), cycles(length=8))
    batch = next(epoch(data, Windows(16, 12, 4, 1, 1), np.random.default_rng(0)))
    chance = negative_probability(torch.ones(31), 0.0)
    exact = next_loss(made, batch, Negatives(0, chance)).item()
    sampled = next_loss(made, batch, Negatives(20_000, chance)).item()
    assert sampled == pytest.approx(exact, abs=0.02)


def test_places_are_ends_of_baskets_and_targets_come_after_them():
    baskets = [[[1, 2, 3], [4, 5], [6], [7, 8, 9]]]
    data = interactions(catalogue(9), purchases(baskets))
    after = {3: {4, 5, 6}, 5: {6, 7, 8}, 6: {7, 8, 9}}
    for seed in range(20):
        (batch,) = epoch(data, Windows(4, 10, 10, 2, 3), np.random.default_rng(seed))
        history, places, targets = (
            t[0].numpy() for t in (batch.history, batch.places, batch.targets)
        )
        # Nothing follows the last event, so it is not shown.
        assert len(history) == 8
        assert set(history[:3]) == {1, 2, 3}
        assert set(history[3:5]) == {4, 5}
        for place, wanted in zip(places, targets, strict=True):
            if wanted.any():
                assert set(wanted[wanted != 0]) <= after[place + 1]
        assert (targets.any(axis=1)).sum() == 3


def test_long_histories_are_cut_at_random_and_each_user_is_shown_every_epoch():
    data = interactions(catalogue(20), cycles(users=10, length=40))
    windows = Windows(8, 10, 4, 1, 1)
    batches = list(epoch(data, windows, np.random.default_rng(0)))
    histories = np.concatenate([b.history.numpy() for b in batches])
    assert len(histories) == 10 * 4
    assert (histories != 0).all()
    assert len({tuple(h) for h in histories}) > 15
    for b in batches:
        last = np.take_along_axis(b.history.numpy(), b.places.numpy(), axis=1)
        wanted = b.targets.numpy()[:, :, 0]
        assert (wanted[wanted != 0] == (last % 20 + 1)[wanted != 0]).all()


@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=60),
    batch=st.integers(1, 6),
    places=st.integers(1, 12),
)
@settings(max_examples=25, deadline=None)
def test_batches_of_like_length_show_every_following_event_and_never_more_than_fits(
    lengths, batch, places
):
    data = interactions(catalogue(20), walks(lengths))
    windows = Windows(batch, 12, places, 1, 1)
    shown = 0
    for made in epoch(data, windows, np.random.default_rng(0)):
        assert made.targets.shape[0] * made.targets.shape[1] <= batch * places
        assert (made.history != 0).any(dim=0).all()  # cut to the longest
        shown += len(made.history)
    assert shown == sum(-(-(length - 1) // 12) for length in lengths)


def test_short_histories_share_larger_batches():
    data = interactions(catalogue(20), walks([3] * 40 + [13] * 4))
    found = [tuple(b.history.shape) for b in epoch(data, Windows(4, 12, 12, 1, 1), numbers())]
    assert sorted(found) == [(4, 12), (16, 2), (24, 2)]


def test_spectral_vectors_bring_together_what_the_same_people_bought():
    apart = [[[1], [2], [3]] for _ in range(10)] + [[[4], [5], [6]] for _ in range(10)]
    vectors = spectral_vectors(interactions(catalogue(6), purchases(apart)), 4, seed=0)
    assert not vectors[0].any()
    unit = vectors[1:] / np.linalg.norm(vectors[1:], axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.99 > 0.5 > unit[0] @ unit[4]


CONFIG = Config(
    width=16,
    max_history=10,
    batch=16,
    places=8,
    horizon=1,
    targets=1,
    learning_rate=1e-2,
    negatives=0,
    steps=150,
    evaluations=2,
    finishing_steps=10,
    max_seconds=0.0,
    min_item_events=1,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    return train(CONFIG, catalogue(20), cycles(), repository, silent)


def question(history: list[int], k: int = 3) -> Question:
    return Question(np.array([history]), np.ones((1, len(history)), np.float32), k=np.array([k]))


def test_training_learns_what_follows_and_publishes_what_the_loader_accepts(trained):
    engine = loader.load(trained)
    for start in (1, 7, 15):
        history = [1 + (start + step) % 20 for step in range(6)]
        keys = engine.run(question(history)).item_keys
        assert keys is not None
        assert keys[0, 0] == 1 + (start + 6) % 20
    metrics = engine.manifest.metrics
    assert metrics["ndcg@10"] > 0.5
    assert metrics["export_difference"] <= EXPORT_TOLERANCE
    assert len(engine.manifest.samples) >= 5
    assert len(engine.manifest.score_quantiles) == 101
    assert engine.manifest.engine_parameters["max_history"] == 10


def test_a_history_of_unknown_items_has_no_opinion(trained):
    answer = loader.load(trained).run(question([999, 998]))
    assert answer.item_keys is not None
    assert not answer.item_keys.any()
    assert answer.unknown_items == 2


def test_the_same_seed_trains_the_same_model(tmp_path):
    quick = Config(**{**CONFIG.__dict__, "steps": 5, "finishing_steps": 2})
    found: list[np.ndarray] = []
    for name in ("a", "b"):
        torch.manual_seed(len(found))  # whoever trained before must not matter
        engine = loader.load(train(quick, catalogue(20), cycles(users=20), tmp_path / name, silent))
        found.append(engine.run(question([1, 2, 3], k=20)).scores)
    assert np.array_equal(found[0], found[1])


def test_the_time_limit_ends_training_early_with_a_whole_artifact(tmp_path):
    hurried = Config(**{**CONFIG.__dict__, "steps": 1_000_000, "max_seconds": 0.3, "negatives": 16})
    path = train(hurried, catalogue(20), cycles(users=20), tmp_path, silent)
    assert 0 < loader.load(path).manifest.metrics["steps"] < 1_000


def test_an_encoder_that_does_not_exist_is_refused_before_any_work(tmp_path):
    with pytest.raises(OptionError, match="attention, lstm, gru"):
        with_options(CONFIG, "sequence", {"encoder": "mamba"})
    with pytest.raises(OptionError, match="width is 7, which 2 heads"):
        with_options(CONFIG, "sequence", {"width": 7})
    with pytest.raises(OptionError, match="sequence: width is 0, expected at least 1"):
        with_options(Config(), "sequence", {"width": "0"})


def test_data_in_which_nothing_follows_anything_is_refused(tmp_path):
    lonely = purchases([[[1]], [[2]]])
    with pytest.raises(DatasetError, match="no user has two events"):
        train(CONFIG, catalogue(2), lonely, tmp_path, silent)
    assert not (tmp_path / "sequence").exists()


def test_a_training_can_be_repeated_on_more_data_without_choosing_its_length_again(tmp_path):
    """As long as the first was best, on all events, and judged by none of them."""
    events = cycles(users=20, length=8)
    items = catalogue(20).with_columns(item_key=pl.int_range(1, 21))
    config = Config(width=8, blocks=1, steps=12, evaluations=3, patience=9, finishing_steps=2)
    first = dict(loader.load(train(config, items, events, tmp_path / "a", silent)).manifest.metrics)
    found = curves_of(first)
    assert [step for step, _ in found["validation"]][:3] == [4, 8, 12]
    again = fixed(config, first)
    assert again.stop_after == first["steps"]
    path = train(replace(again, stop_after=5), items, events, tmp_path / "b", silent)
    second = dict(loader.load(path).manifest.metrics)
    assert second["steps"] == 5
    assert "validation" not in curves_of(second)
    assert "ndcg@10" in first
    assert "ndcg@10" not in second
