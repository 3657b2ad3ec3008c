"""The fusion artifact: what is written is what is read, and damage is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifacts import manifest as manifests
from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.fusion import SETTINGS, FusionArtifact, FusionSettings, load_fusion, save
from plait.v1.manifest_pb2 import Manifest


def artifact(**changes: Any) -> FusionArtifact:
    fields: dict[str, Any] = {
        "item_keys": np.array([5, 9, 700], np.int64),
        "vectors": np.eye(3, 4, dtype=np.float32),
        "popularity": np.array([1, 0.5, 0], np.float32),
        "domain_names": ("DELI", "DRUG"),
        "domain_transition": np.array([[0.1, -0.2], [-0.3, 0.4]], np.float32),
        "domain_prior": np.array([0.25, 0.75], np.float32),
        "weights": {"HOME": {"cf": 0.5, "text": 0.5}},
        "quantiles": {"cf": (np.array([0, 1], np.float32), np.array([-2, 3], np.float32))},
        "settings": FusionSettings(w_trend=0.3),
        "surface_settings": {"CART": {"w_trend": 0.0}},
        "tuned_on": {"cf": 4},
    }
    return FusionArtifact(**(fields | changes))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = artifact()
    save(tmp_path, saved, Manifest(version=7))
    loaded = load_fusion(tmp_path)
    assert loaded.version == 7
    for field in dataclasses.fields(FusionArtifact):
        old, new = getattr(saved, field.name), getattr(loaded, field.name)
        if isinstance(old, np.ndarray):
            np.testing.assert_array_equal(old, new)
        elif field.name not in ("quantiles", "version"):
            assert old == new
    np.testing.assert_array_equal(loaded.quantiles["cf"][1], [-2, 3])


def test_a_surface_may_differ_from_the_rest() -> None:
    saved = artifact()
    assert saved.settings_for("HOME").w_trend == 0.3
    assert saved.settings_for("CART").w_trend == 0.0
    assert saved.settings_for("CART").w_session == saved.settings.w_session


def test_transitions_follow_the_catalogues_order_of_domains() -> None:
    transition = artifact().transition_for(("DRUG", "NEW", "DELI"))
    assert transition.ravel().tolist() == pytest.approx([0.4, 0, -0.3, 0, 0, 0, -0.2, 0, 0.1])


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    save(tmp_path, artifact(), Manifest(version=1))
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(ArtifactCorrupt, match=r"fusion\.json.*SHA-256"):
        load_fusion(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("weights", "HOME", "cf"), 0.9, "weights of HOME"),
        (("quantiles", "cf", "scores"), [3, -2], "quantiles of cf"),
        (("settings", "ranker"), "psychic", "ranker 'psychic'"),
        (("settings", "w_trend"), "much", "setting 'w_trend'"),
        (("settings", "w_unheard_of"), 1.0, "w_unheard_of"),
        (("surface_settings", "CART", "w_trend"), -1.0, "setting 'w_trend'"),
        (("surface_settings", "CART", "w_unheard_of"), 1.0, "settings of CART"),
        (("domain_names",), ["DELI"], "domain_transition"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    save(tmp_path, artifact(), Manifest(version=1))
    settings = json.loads((tmp_path / SETTINGS).read_text())
    place = settings
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (tmp_path / SETTINGS).write_text(json.dumps(settings))
    manifests.write(tmp_path, manifests.read(tmp_path), artifact().item_keys)
    with pytest.raises(ArtifactError, match=message):
        load_fusion(tmp_path)


def test_an_artifact_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    broken = artifact(popularity=np.array([1, np.nan, 0], np.float32))
    with pytest.raises(ArtifactCorrupt, match="popularity"):
        save(tmp_path, broken, Manifest(version=1))
    assert not list(tmp_path.iterdir())


def test_a_model_services_artifact_is_refused(tmp_path: Path) -> None:
    save(tmp_path, artifact(), Manifest(version=1))
    manifest = manifests.read(tmp_path)
    manifest.engine = "graph"
    manifests.write(tmp_path, manifest, artifact().item_keys)
    with pytest.raises(ArtifactCorrupt, match="engine 'graph'"):
        load_fusion(tmp_path)
