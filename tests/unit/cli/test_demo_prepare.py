"""Models are kept while the same data and settings would make them again."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from cli.demo.places import Places
from cli.demo.prepare import TRAINED, _copy, models_fit, note_training, servable, stamp_of
from models.train import SOURCES
from tests.integration.gateway.world import publish_fusion
from tests.support.artifacts import Tiny, publish
from tests.support.text_artifact import publish_text


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path)
    made.dataset.mkdir(parents=True)
    (made.dataset / "dataset.json").write_text("{}")
    for name in TRAINED:
        (made.models / name / "1").mkdir(parents=True)
        (made.models / name / "1" / "manifest.json").touch()
    note_training(made, stamp_of(made, "quick"))
    return made


def test_the_same_data_and_settings_need_no_training(places: Places) -> None:
    assert models_fit(places, stamp_of(places, "quick"))


def test_other_settings_do(places: Places) -> None:
    assert not models_fit(places, stamp_of(places, "demo"))


def test_other_data_do(places: Places) -> None:
    (places.dataset / "dataset.json").write_text('{"name": "other"}')
    assert not models_fit(places, stamp_of(places, "quick"))


def test_a_version_that_is_gone_does(places: Places) -> None:
    (places.models / "cf" / "1" / "manifest.json").unlink()
    assert not models_fit(places, stamp_of(places, "quick"))


def test_models_of_a_release_that_noted_no_settings_do(places: Places) -> None:
    noted = places.models / "trained-on.json"
    old = {k: v for k, v in json.loads(noted.read_text()).items() if k != "settings"}
    noted.write_text(json.dumps(old))
    assert not models_fit(places, stamp_of(places, "quick"))


def test_models_that_this_release_cannot_serve_do_and_it_says_why(tmp_path: Path) -> None:
    places = Places(tmp_path)
    for source in SOURCES:
        if source == "text":
            publish_text(places.models)
        else:
            publish(places.models, Tiny(source=source))
    publish_fusion(places.models)
    said = io.StringIO()
    assert servable(places, Console(file=said, width=400))
    assert not said.getvalue()
    # As a release left it that kept no such file.
    (places.models / "text" / "1" / "where.npy").unlink()
    assert not servable(places, Console(file=said, width=400))
    assert "where.npy" in said.getvalue()


def test_a_copy_of_a_store_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded, store = tmp_path / "seed.sqlite", tmp_path / "state.sqlite"
    seeded.write_bytes(b"much")

    def full(_source: Path, to: Path) -> None:
        to.write_bytes(b"mu")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space"):
            _copy(seeded, store)
    assert not store.exists()
    assert not list(tmp_path.glob("*.draft"))
    _copy(seeded, store)
    assert store.read_bytes() == b"much"
