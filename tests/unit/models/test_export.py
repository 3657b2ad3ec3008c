"""What every trainer shares: manifest, parity, quantiles, samples, progress, the holdout."""

from dataclasses import dataclass
from datetime import UTC

import numpy as np
import polars as pl
import pytest

from artifacts.engine import Answer, replay_samples
from artifacts.manifest import read
from models.export import (
    ExportMismatch,
    Origin,
    check_parity,
    finish,
    library_versions,
    new_manifest,
    wire_inputs,
    wire_outputs,
)
from models.histories import Histories, sample_histories, sample_requests
from models.progress import part, silent
from models.validation import hold_out, tasks
from plait.v1.manifest_pb2 import Manifest
from tests.support.shop import shop

KEYS = np.array([3, 5, 9], np.int64)


@dataclass(frozen=True)
class Config:
    seed: int = 7
    rates: tuple[float, ...] = (0.1, 0.2)


class Constant:
    """Answers 3, 2, 1 to every known history and scores likewise."""

    def __init__(self):
        self.manifest = Manifest()

    def run(self, question):
        silent_rows = ~np.isin(question.history, KEYS).any(axis=1, keepdims=True)
        if question.candidates is not None:
            known = np.isin(question.candidates, KEYS) & ~silent_rows
            return Answer(scores=np.where(known, np.float32(1), np.float32(np.nan)))
        rows, k = len(question.history), int(question.k.max())
        keys, scores = np.zeros((rows, k), np.int64), np.full((rows, k), np.nan, np.float32)
        keys[:, :3], scores[:, :3] = KEYS[:k], np.array([3, 2, 1], np.float32)[:k]
        return Answer(
            scores=np.where(silent_rows, np.float32(np.nan), scores),
            item_keys=np.where(silent_rows, 0, keys),
        )


def made(tmp_path):
    _, events = shop(users=5)
    origin = Origin("cf", 4, Config(), events)
    manifest = new_manifest(
        origin, engine="graph", inputs=wire_inputs(), outputs=wire_outputs(embedding=8),
        metrics={"recall@10": 0.5}, tolerance=1e-4, engine_parameters={"max_history": 20},
    )  # fmt: skip
    histories = Histories(np.array([[0, 3], [5, 9]]), np.array([[0, 1], [1, 1]], np.float32))
    finish(tmp_path, manifest, KEYS, Constant(), histories)
    return read(tmp_path), events


def test_a_manifest_says_where_the_model_comes_from(tmp_path):
    manifest, events = made(tmp_path)
    assert manifest.training_config == {"seed": "7", "rates": "[0.1, 0.2]"}
    assert manifest.seed == 7
    assert manifest.event_count == events.height
    assert manifest.data_end_time.ToDatetime(tzinfo=UTC) == events["time"].max()
    assert manifest.library_versions["numpy"] == np.__version__
    assert set(manifest.file_hashes) == {"item_keys.npy"}


def test_events_without_times_have_no_window():
    _, events = shop(users=2)
    timeless = events.with_columns(time=pl.lit(None, pl.Datetime("us", "UTC")))
    manifest = new_manifest(
        Origin("cf", 1, Config(), timeless), engine="graph", inputs=[], outputs=[], metrics={},
        tolerance=0.0,
    )  # fmt: skip
    assert not manifest.HasField("data_start_time")


def test_quantiles_ascend_over_what_was_retrieved(tmp_path):
    manifest, _ = made(tmp_path)
    points = [(q.probability, q.score) for q in manifest.score_quantiles]
    assert len(points) == 101
    assert points[0] == (0, 1)
    assert points[-1] == (1, 3)
    assert [score for _, score in points] == sorted(score for _, score in points)


def test_samples_ask_every_kind_of_question_and_replay(tmp_path):
    manifest, _ = made(tmp_path)
    engine = Constant()
    engine.manifest = manifest
    replay_samples(engine, "here")
    assert any(s.candidates for s in manifest.samples)
    assert any(not s.history for s in manifest.samples)
    assert any(set(s.history) - set(KEYS.tolist()) for s in manifest.samples)


def test_queries_are_sampled_where_a_model_reads_them():
    histories = Histories(np.array([[3]]), np.ones((1, 1), np.float32), ("milk",))
    samples = sample_requests(KEYS, histories)
    assert {s.query for s in samples} == {"", "milk"}


def test_parity_returns_the_largest_difference_within_the_tolerance():
    trained = np.array([1.0, -np.inf])
    assert check_parity("x", trained, trained + 1e-5, tolerance=1e-4) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("exported", "why"),
    [([1.1, 2.0], "differs"), ([1.0, np.nan], "opinions"), ([1.0], "exported")],
)
def test_an_export_that_differs_is_refused(exported, why):
    with pytest.raises(ExportMismatch, match=why):
        check_parity("x", np.array([1.0, 2.0]), np.array(exported), tolerance=1e-3)


def test_histories_are_the_newest_events_and_the_draw_is_seeded():
    _, events = shop(users=20)
    one = sample_histories(events, users=5, newest=6, seed=1)
    mixed = events.sample(fraction=1.0, shuffle=True, seed=3)
    two = sample_histories(mixed, users=5, newest=6, seed=1)
    np.testing.assert_array_equal(one.keys, two.keys)
    assert one.keys.shape == (5, 6)
    newest = events.sort("user_id", "time").group_by("user_id").agg(pl.col("item_key").last())
    assert set(one.keys[:, -1].tolist()) <= set(newest["item_key"].to_list())


def test_sampled_histories_hold_no_dislikes():
    _, events = shop(users=10)
    disliked = events.with_columns(
        type=pl.when(pl.col("order") % 2 == 1).then(pl.lit("dislike")).otherwise("type")
    )
    liked = disliked.filter(pl.col("type") != "dislike")
    found, wanted = (sample_histories(e, users=5, newest=6, seed=1) for e in (disliked, liked))
    np.testing.assert_array_equal(found.keys, wanted.keys)


def test_a_part_of_the_work_reports_its_share():
    seen = []
    report = part(lambda done, total, text: seen.append((done, total, text)), 0.5, 1.0)
    report(0, 4, "a")
    report(4, 4, "b")
    report(1, 0, "unknown")
    assert seen == [(500, 1000, "a"), (1000, 1000, "b"), (500, 1000, "unknown")]
    silent(1, 2, "nothing happens")


def test_wire_specs_say_what_may_be_left_out():
    assert [s.name for s in wire_inputs() if not s.optional] == ["history"]
    assert "query" in [s.name for s in wire_inputs(reads_query=True)]
    assert [s.name for s in wire_outputs()] == ["item_keys", "scores"]
    assert "onnxruntime" in library_versions()


def test_what_is_held_out_by_time_comes_last_for_everyone():
    _, events = shop()
    held = hold_out(events, share=0.2)
    assert held.known["time"].to_numpy().max() < held.wanted["time"].to_numpy().min()
    assert held.wanted.height == pytest.approx(0.2 * events.height, rel=0.02)
    new, following = tasks(held, users=1000, seed=0)
    assert len(new.targets.keys) <= len(following.targets.keys)


def test_no_events_leave_nothing_to_hold_out():
    _, events = shop(users=2)
    held = hold_out(events.clear())
    assert not held.known.height
    assert not held.wanted.height


def test_where_most_happened_at_the_first_moment_what_came_after_is_held_out():
    _, events = shop()
    cut = events["time"].sort()[int(0.95 * events.height)]
    early = events.with_columns(
        time=pl.when(pl.col("time") < cut).then(pl.col("time").min()).otherwise("time")
    )
    held = hold_out(early)
    assert held.known["time"].n_unique() == 1
    assert held.wanted["time"].to_numpy().min() == cut.replace(tzinfo=None)


def test_where_all_happened_at_one_moment_an_event_of_each_user_is_held_out():
    _, events = shop()
    once = events.with_columns(time=pl.lit(events["time"][0]))
    timeless = events.with_columns(time=pl.lit(None, events.schema["time"]))
    held = hold_out(once)
    assert held.wanted.select("user_id", "order").equals(
        hold_out(timeless).wanted.select("user_id", "order")
    )
    assert held.wanted["time"].null_count() == 0
    assert held.known.height + held.wanted.height == events.height


def test_where_the_order_of_a_file_means_nothing_an_event_of_each_user_is_drawn():
    _, events = shop()
    unordered = events.with_columns(
        time=pl.lit(None, pl.Datetime("us", "UTC")), split=pl.lit("train")
    )
    held = hold_out(unordered)
    assert held.wanted["user_id"].n_unique() == held.wanted.height
    assert held.known.height + held.wanted.height == events.height
    last = unordered.group_by("user_id").agg(pl.col("order").max())
    drawn = held.wanted.join(last, on=["user_id", "order"], how="semi").height
    assert drawn < held.wanted.height / 2
    assert (
        hold_out(unordered.reverse())
        .wanted.sort("user_id", "item_key")
        .equals(held.wanted.sort("user_id", "item_key"))
    )
