"""All models of a dataset in one go: the order, what each learns from, what is reported."""

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from artifacts.fusion import FusionSettings, load_fusion
from artifacts.loader import load
from artifacts.manifest import read
from cli.main import plait
from models.data.dataset import DatasetInfo, write_dataset
from models.data.errors import DatasetError, OptionError
from models.fusion.config import Config
from models.fusion.exposures import check_exposures
from models.train import TrainConfig, config_of, preset_of, train_all
from models.validation import hold_out
from tests.support.disks import small_disk
from tests.support.shop import shop


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    items, events = shop(users=60)
    info = DatasetInfo("shop", "made for this test", "time")
    path = tmp_path_factory.mktemp("data") / "shop"
    return write_dataset(path, items=items, events=events, info=info)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    repository = tmp_path_factory.mktemp("models")
    config = TrainConfig(sources=("content", "cf"), preset="quick", seed=3)
    done, skipped = train_all(dataset, repository, config)
    return repository, done, skipped


def test_sources_come_before_the_fusion_that_weighs_them(trained):
    _, done, skipped = trained
    assert [t.source for t in done] == ["cf", "content", "fusion"]
    assert not skipped
    assert all(t.seconds > 0 and t.megabytes > 0 for t in done)
    for found in done[:2]:
        assert found.metrics["ndcg@10"] > 0
        assert load(found.path).manifest.seed == 3


def test_sources_do_not_learn_from_what_the_fusion_is_tuned_on(trained, dataset):
    _, done, _ = trained
    held = hold_out(dataset.events)
    for found in done[:2]:
        assert read(found.path).event_count == held.known.height


def test_the_fusion_is_not_tuned_on_what_a_source_that_stays_has_learned_from(dataset, tmp_path):
    both = TrainConfig(sources=("cf", "content"), preset="quick", fusion=False)
    train_all(dataset, tmp_path, both)
    again = replace(both, sources=("cf",), fusion=True)
    with pytest.raises(OptionError, match=r"content/1: has learned .* \(--keep-fusion"):
        train_all(dataset, tmp_path, again)
    assert not (tmp_path / "cf" / "2").exists()  # told before anything was trained
    train_all(dataset, tmp_path, replace(again, fusion=False))
    done, _ = train_all(dataset, tmp_path, replace(both, fusion=True))
    assert done[-1].source == "fusion"
    # What stays has not seen the end of the events: then it may be weighed.
    done, _ = train_all(dataset, tmp_path, again)
    assert [t.source for t in done] == ["cf", "fusion"]


def test_the_ranker_is_taught_by_an_earlier_window_and_nothing_of_it_stays(dataset, tmp_path):
    asked = {}
    for earlier in (True, False):
        options = {"fusion": {"earlier": earlier, "least_questions": 20, "moments": 2}}
        config = TrainConfig(sources=("cf",), preset="quick", options=options)
        done, _ = train_all(dataset, tmp_path, config)
        asked[earlier] = done[-1].metrics["HOME.ranker.questions"]
    assert asked[True] > 1.5 * asked[False] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cf", "fusion"]


def test_a_refit_leaves_a_fusion_that_belongs_to_the_sources_that_serve(dataset, tmp_path):
    config = TrainConfig(sources=("content", "cf"), preset="quick", refit=True)
    done, _ = train_all(dataset, tmp_path, config)
    fusions = [found for found in done if found.source == "fusion"]
    assert [f.path.name for f in fusions] == ["1", "2"]
    tuned, served = (load_fusion(found.path) for found in fusions)
    assert served.tuned_on == {"cf": 2, "content": 2}
    assert served.weights == tuned.weights
    # A new item is placed among them by the version that serves.
    vectors = np.load(tmp_path / "content" / "2" / "item_vectors.npy")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(served.vectors, unit, atol=1e-5)
    assert np.abs(served.vectors - tuned.vectors).max() > 1e-3
    assert read(fusions[1].path).version == 2


def test_without_the_fusion_sources_learn_from_everything(dataset, tmp_path):
    config = TrainConfig(sources=("cf",), preset="quick", fusion=False)
    done, _ = train_all(dataset, tmp_path, config)
    assert [t.source for t in done] == ["cf"]
    assert read(done[0].path).event_count == dataset.events.height


@pytest.mark.parametrize("happened", [True, False], ids=["events", "no events"])
def test_words_alone_make_a_shop_that_answers_searches(dataset, tmp_path, happened):
    some = dataset if happened else replace(dataset, events=dataset.events.clear())
    config = TrainConfig(sources=("text",), preset="quick")
    done, _ = train_all(some, tmp_path, config)
    assert [t.source for t in done] == ["text", "fusion"]
    assert load_fusion(done[-1].path).weights["SEARCH"]["text"] > 0


def test_what_is_bought_one_by_one_tunes_home_and_leaves_visits_to_it(dataset, tmp_path):
    """Reviews make no visits: two that chance left would decide the weights of a shop."""
    day = pl.int_range(pl.len()).over("user_id")
    apart = dataset.events.with_columns(
        time=pl.col("time").min() + pl.duration(days=day), order=day.cast(pl.Int64)
    )
    config = TrainConfig(sources=("cf", "content"), preset="quick")
    done, _ = train_all(replace(dataset, events=apart), tmp_path, config)
    found = done[-1].metrics
    assert found["HOME.questions"] >= 50 > found["CART.questions"] == found["SESSION.questions"]
    weights = load_fusion(done[-1].path).weights
    assert weights["SESSION"] == weights["CART"] == weights["HOME"]
    assert "CART.ndcg@20" not in found


@pytest.mark.parametrize(("shoppers", "told"), [(6, True), (1, False)])
def test_some_questions_weigh_the_sources_and_fewer_do_not(dataset, tmp_path, shoppers, told):
    """Equal weights let a source that knows nothing drown those that know something."""
    known = dataset.events["user_id"].unique(maintain_order=True)[:shoppers].to_list()
    few = replace(dataset, events=dataset.events.filter(pl.col("user_id").is_in(known)))
    config = TrainConfig(sources=("cf", "content"), preset="quick")
    done, _ = train_all(few, tmp_path, config)
    found, fusion = done[-1].metrics, load_fusion(done[-1].path)
    assert 0 < found["HOME.questions"] < 50
    assert ("HOME.ndcg@20" in found) == told == (fusion.weights["HOME"]["cf"] != 0.5)
    # How much a trend is worth, or variety, takes more to be told.
    assert fusion.settings.w_trend == FusionSettings().w_trend
    assert "HOME" not in fusion.surface_settings


def test_a_dataset_without_words_leaves_the_text_source_out(dataset, tmp_path):
    nameless = dataset.items.with_columns(title=pl.col("item_id"), text=pl.lit(""))
    wordless = write_dataset(
        tmp_path / "data", items=nameless, events=dataset.events, info=dataset.info
    )
    config = TrainConfig(sources=("text", "cf"), preset="quick", fusion=False)
    done, skipped = train_all(wordless, tmp_path / "models", config)
    assert [t.source for t in done] == ["cf"]
    assert "titles" in skipped["text"]


def test_what_can_learn_is_published_and_what_cannot_is_named(dataset, tmp_path):
    lone = dataset.events.unique("user_id", keep="first", maintain_order=True)
    config = TrainConfig(sources=("cf", "sequence"), preset="quick")
    done, skipped = train_all(replace(dataset, events=lone), tmp_path, config)
    assert [t.source for t in done] == ["cf", "fusion"]
    assert "no user has two events" in skipped["sequence"]


def test_where_nothing_can_learn_every_source_is_named(dataset, tmp_path):
    config = TrainConfig(sources=("cf", "sequence"), preset="quick")
    one = dataset.events.head(1)
    with pytest.raises(DatasetError, match=r"no model can learn .*cf: .*; sequence: "):
        train_all(replace(dataset, events=one), tmp_path, config)
    assert not list(tmp_path.glob("*/[0-9]*"))


def test_an_earlier_window_that_teaches_a_source_nothing_is_done_without(dataset, tmp_path):
    """One item is sold for long, then all of them."""
    events = dataset.events.sort("time")
    keys = events["item_key"]
    first = pl.int_range(pl.len()) < int(0.8 * events.height)
    bare = events.with_columns(item_key=pl.when(first).then(keys[0]).otherwise("item_key"))
    options = {"fusion": {"least_questions": 20, "moments": 2}}
    config = TrainConfig(sources=("cf",), preset="quick", options=options)
    done, skipped = train_all(replace(dataset, events=bare), tmp_path, config)
    assert [t.source for t in done] == ["cf", "fusion"]
    assert not skipped


@pytest.mark.parametrize("preset", ["quick", "demo", "full"])
def test_what_any_preset_trains_can_be_published(dataset, tmp_path, preset):
    """What only one of them sets, as dropout, must not meet an export at a user's first."""
    hurried: dict[str, dict[str, object]] = {
        "sequence": {"steps": 4, "evaluations": 1, "finishing_steps": 1},
        "content": {"steps": 4, "further_steps": 1},
        "fusion": {"ranker": False},
    }
    config = TrainConfig(sources=("cf", "sequence", "content"), preset=preset, options=hurried)
    done, skipped = train_all(dataset, tmp_path, config)
    assert [t.source for t in done] == ["cf", "sequence", "content", "fusion"]
    assert not skipped


def test_a_trainer_without_presets_is_used_as_it_is():
    class Trainer:
        Config = TrainConfig

    assert preset_of(Trainer, "full", 5) == TrainConfig(seed=5)


def test_the_command_prints_versions_for_people_and_machines(dataset, tmp_path):
    arguments = ["train", str(dataset.path), str(tmp_path), "--sources", "cf", "--keep-fusion"]
    table = CliRunner().invoke(plait, [*arguments, "--preset", "quick"])
    assert table.exit_code == 0, table.output
    assert "ndcg@10" in table.output
    machine = CliRunner().invoke(plait, [*arguments, "--preset", "quick", "--json"])
    shown = json.loads(machine.stdout)
    assert [(t["source"], t["version"]) for t in shown["trained"]] == [("cf", 2)]


def test_a_training_that_ends_early_says_what_it_published_and_leaves_no_draft(dataset, tmp_path):
    """The text encoder that content brings along does not fit on the disk."""
    with small_disk(tmp_path / "disk", 1) as disk:
        if disk is None:
            pytest.skip("this process may not mount a file system")
        models = disk.root / "models"
        arguments = ["train", str(dataset.path), str(models), "--sources", "cf,content"]
        result = CliRunner().invoke(plait, [*arguments, "--preset", "quick"])
        left = {str(path.relative_to(models)) for path in models.glob("*/*")}
    assert result.exit_code == 1
    assert "Published before it ended, whole and to be loaded: cf 1." in result.output
    assert "encoder.onnx: No space left on device" in result.output
    assert left == {"cf/1"}


@pytest.mark.parametrize("name", ["content", "fusion"])
def test_a_wrong_setting_is_told_before_anything_is_trained(dataset, tmp_path, name):
    options = {name: {"no_such_field": "1"}}
    config = TrainConfig(sources=("cf", "content"), preset="quick", options=options)
    with pytest.raises(OptionError, match=f"{name} has no setting 'no_such_field'"):
        train_all(dataset, tmp_path, config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("cf", "factors", "0"), ("cf", "max_tuning_items", "0"), ("cf", "seed", "-1"),
        ("content", "threads", "0"), ("content", "seed", "-1"),
        ("sequence", "steps", "0"), ("sequence", "threads", "0"), ("sequence", "dropout", "1.5"),
        ("text", "dense_weight", "7"), ("text", "most_lists", "2"), ("fusion", "seed", "-1"),
        ("fusion", "exclude_seen", "no"), ("sequence", "repeats", "no"),
        ("fusion", "k", "0"), ("fusion", "passes", "0"), ("fusion", "members", "0"),
        ("fusion", "hidden", "[64, 0]"), ("fusion", "exposure_most", "0.5"),
        ("fusion", "provider_share", "2"), ("sequence", "steps", f"1{29 * '0'}"),
        ("cf", "seed", "2147483648"), ("cf", "shrinkage", f"1{400 * '0'}"),
        ("cf", "companions", f"[1{20 * '0'}]"), ("cf", "half_life_days", "NaN"),
        ("cf", "half_life_days", "Infinity"), ("sequence", "nearness", "1e99"),
        ("fusion", "exposures", "[7]"),
    ],
)  # fmt: skip
def test_a_value_that_training_would_trip_over_is_told_before(name, field, value):
    with pytest.raises(OptionError, match=f"{name}: {field} is '?{re.escape(value)}.*expected"):
        config_of(name, "full", 0, {field: value})


@pytest.mark.parametrize(("name", "field"), [("content", "width"), ("sequence", "horizon")])
def test_sizes_that_no_memory_holds_are_named_with_what_to_do(dataset, tmp_path, name, field):
    options = {name: {field: "1000000000"}}  # torch's own error for one, numpy's for the other
    config = TrainConfig(sources=(name,), preset="quick", fusion=False, options=options)
    said = rf"^{name}: .* [GT]iB at once, more .*{name}\.{field}=1000000000 was set.*--preset"
    with pytest.raises(OptionError, match=said):
        train_all(dataset, tmp_path, config)
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "fusion.k=5"], "fusion is not trained, and k would change nothing: leave out"),
        (["--method", "als"], "cf is not trained, and method would change nothing: name it in"),
        (["--refit"], "leave out --refit"),
    ],
)
def test_what_would_change_nothing_is_told_before_anything_is_trained(
    dataset, tmp_path, more, said
):
    options = ["--sources", "content", "--keep-fusion", "--preset", "quick", *more]
    result = CliRunner().invoke(plait, ["train", str(dataset.path), str(tmp_path), *options])
    assert result.exit_code == 1
    assert said in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [([], "absent.jsonl: cannot be read"), (["--set", "fusion.ranker=false"], "ranker is false")],
)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_exposure_logs_that_cannot_be_used_stop_work_before_it_begins(
    dataset, tmp_path, command, more, said
):
    log = tmp_path / "absent.jsonl"
    arguments = {
        "train": [tmp_path / "made", "--sources", "cf", "--exposures", log],
        "evaluate": [
            "--protocol", "time-split", "--models", "cf,fused", "--work", tmp_path / "made",
            "--set", f'fusion.exposures=["{log}"]',
        ],
    }  # fmt: skip
    words = [command, dataset.path, *arguments[command], *more]
    result = CliRunner().invoke(plait, [*map(str, words)])
    assert result.exit_code == 1
    assert said in result.output
    assert not list(tmp_path.iterdir())


def test_logs_of_events_without_times_are_refused():
    with pytest.raises(OptionError, match="no times; leave them out"):
        check_exposures(Config(exposures=("log.jsonl",)), "order")


def test_a_source_nobody_knows_is_named():
    result = CliRunner().invoke(plait, ["train", "data", "models", "--sources", "cf,bogus"])
    assert result.exit_code == 2
    assert "bogus" in result.output
