"""The fusion artifact: what the gateway has learned about combining the sources.

Not a model service's artifact but laid out as one (REPOSITORY/fusion/<version>/):
`fusion.npz` holds the arrays by item and by domain, `fusion.json` the weights,
quantiles and settings a person may want to read, `ranker.npz` the learned rankers where
there are any, `manifest.json` the hashes.
"""

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from artifacts import manifest as manifests
from artifacts.engine import Scores
from artifacts.errors import ArtifactCorrupt
from artifacts.keys import Keys
from artifacts.ranker.ranker import FILE, LearnedRanker, load_rankers, save_rankers
from plait.v1.manifest_pb2 import Manifest

SOURCE = ENGINE = "fusion"
ARRAYS = "fusion.npz"
SETTINGS = "fusion.json"
CONVEX, NETWORK = RANKERS = ("convex", "network")
_ARRAYS = ("vectors", "popularity", "domain_transition", "domain_prior")
_REMEDY = "train anew with `plait train DATASET REPOSITORY`"


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """Scalars of the fusion, in units of the fused score (0..1) unless said otherwise."""

    # How the sources combine: "convex" is the weighted sum, "network" the learned ranker
    # on the surfaces where it was trained, and the weighted sum on the others.
    ranker: str = "convex"
    # More lifts what the market buys now, at the cost of the personal.
    w_trend: float = 0.05
    # More follows the current session harder, and forgets the long history sooner.
    w_session: float = 0.1
    # More prefers the cheaper of alternatives, for everyone alike.
    w_cost: float = 0.0
    # More prefers the cheaper for those who buy cheap, and the dearer for those who buy dear:
    # this times the shopper's own cost sensitivity (-1..1) is added to w_cost.
    w_cost_personal: float = 0.0
    # More moves shoppers across domains, at the cost of those who came for one.
    w_cross_domain: float = 0.05
    # Events in a domain after which its cross-domain term has halved.
    cross_domain_fade: float = 5.0
    # 0 is relevance only, 1 variety only. Training sets it by its price where it can.
    diversity: float = 0.1
    # More gives HOME the mix of domains that the shopper's history has (Steck 2018).
    domain_calibration: float = 0.0
    # Of the first n places a provider gets at most this share; 1: no bound.
    provider_share: float = 1.0
    # Days after which an event counts half in a market's trend.
    trend_half_life_days: float = 7.0
    # Days after which an event counts half in a shopper's history; 0: it never fades.
    history_half_life_days: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FusionArtifact:
    """One version of the fusion. n items, D domains."""

    item_keys: Keys  # int64 [n]
    vectors: Scores  # unit vectors from the content model, float32 [n, d]; a zero row: none
    popularity: Scores  # log-scaled long-run popularity, 0..1 [n]
    domain_names: tuple[str, ...]
    domain_transition: Scores  # log(P(t | r) / P(t)) at [r, t], float32 [D, D]
    domain_prior: Scores  # P(t), sums to 1 [D]
    # Surface -> source -> weight; each surface sums to 1.
    weights: Mapping[str, Mapping[str, float]]
    # Source -> (probabilities, scores), both ascending: its manifest's score quantiles.
    quantiles: Mapping[str, tuple[Scores, Scores]]
    settings: FusionSettings = field(default_factory=FusionSettings)
    # Surface -> setting -> value, where a surface differs from `settings`.
    surface_settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    # Versions of the sources that the weights were tuned on.
    tuned_on: Mapping[str, int] = field(default_factory=dict)
    version: int = 0
    # Surface -> its learned ranker; there are some where settings.ranker is "network".
    rankers: Mapping[str, LearnedRanker] = field(default_factory=dict)

    def ranker_for(self, surface: str) -> LearnedRanker | None:
        """Return the learned ranker where a surface uses one."""
        used = self.settings_for(surface).ranker == NETWORK
        return self.rankers.get(surface) if used else None

    def settings_for(self, surface: str) -> FusionSettings:
        """Return the settings of one surface; its ranker is the weighted sum where it has none."""
        own = _given(self, surface)
        return own if surface in self.rankers else dataclasses.replace(own, ranker=CONVEX)

    def only(self, items: npt.NDArray[np.bool_]) -> "FusionArtifact":
        """Return the artifact with some of its items [n]: the arrays of the others are let go."""
        return dataclasses.replace(
            self,
            item_keys=self.item_keys[items],
            vectors=self.vectors[items],
            popularity=self.popularity[items],
        )

    def transition_for(self, names: tuple[str, ...]) -> Scores:
        """Return domain_transition in the order of the catalogue's domain names.

        A domain the artifact does not know gets log-odds 0: no adjustment.
        """
        place = {name: i for i, name in enumerate(self.domain_names)}
        at = np.array([place.get(name, -1) for name in names], np.int64)
        known = np.flatnonzero(at >= 0)
        transition = np.zeros((len(names), len(names)), np.float32)
        transition[np.ix_(known, known)] = self.domain_transition[np.ix_(at[known], at[known])]
        return transition


def _given(artifact: FusionArtifact, surface: str) -> FusionSettings:
    """Return the settings of one surface as they are written; raises TypeError for unknown ones."""
    own: dict[str, Any] = dict(artifact.surface_settings.get(surface, {}))
    return dataclasses.replace(artifact.settings, **own)


def save(directory: Path, artifact: FusionArtifact, manifest: Manifest) -> None:
    """Write an artifact into the empty `directory`; completes and writes the manifest too.

    Raises ArtifactCorrupt, naming the field, rather than write what `load_fusion`
    would refuse.
    """
    _check(artifact, directory)
    arrays = {name: np.asarray(getattr(artifact, name), np.float32) for name in _ARRAYS}
    np.savez(directory / ARRAYS, allow_pickle=False, **arrays)
    if artifact.rankers:
        save_rankers(directory, artifact.rankers)
    settings = {
        "settings": dataclasses.asdict(artifact.settings),
        "surface_settings": {s: dict(v) for s, v in artifact.surface_settings.items()},
        "weights": {s: dict(w) for s, w in artifact.weights.items()},
        "tuned_on": dict(artifact.tuned_on),
        "domain_names": list(artifact.domain_names),
        "quantiles": {
            source: {"probabilities": p.tolist(), "scores": s.tolist()}
            for source, (p, s) in artifact.quantiles.items()
        },
    }
    (directory / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    manifest.source = SOURCE
    manifest.engine = ENGINE
    manifests.write(directory, manifest, artifact.item_keys)


def load_fusion(directory: Path) -> FusionArtifact:
    """Verify and read an artifact.

    Raises an ArtifactError that names the file, what is wrong and the remedy.
    """
    manifest, keys = manifests.verify(directory)
    if manifest.engine != ENGINE:
        raise ArtifactCorrupt(
            f"{directory / 'manifest.json'}: engine '{manifest.engine}', expected '{ENGINE}'; "
            "this is a model service's artifact, point the gateway at the fusion's"
        )
    arrays = _read_arrays(directory / ARRAYS)
    try:
        raw = json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
        artifact = _assemble(keys, arrays, raw, int(manifest.version))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactCorrupt(
            f"{directory / SETTINGS}: cannot be read ({type(error).__name__}: {error}); {_REMEDY}"
        ) from None
    if artifact.settings.ranker == NETWORK:
        found = load_rankers(directory, keys, lambda why: _refused(directory, why))
        artifact = dataclasses.replace(artifact, rankers=found)
    _check(artifact, directory)
    return artifact


def _refused(directory: Path, why: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"{directory / FILE}: {why}; {_REMEDY}")


def _read_arrays(path: Path) -> dict[str, Scores]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactCorrupt(
            f"{path}: cannot be read ({type(error).__name__}: {error}); {_REMEDY}"
        ) from None


def _assemble(
    keys: Keys, arrays: dict[str, Scores], raw: dict[str, Any], version: int
) -> FusionArtifact:
    def numbers(values: list[float]) -> Scores:
        return np.array(values, np.float32)

    return FusionArtifact(
        item_keys=keys,
        vectors=arrays["vectors"],
        popularity=arrays["popularity"],
        domain_transition=arrays["domain_transition"],
        domain_prior=arrays["domain_prior"],
        domain_names=tuple(raw["domain_names"]),
        weights={s: {n: float(v) for n, v in w.items()} for s, w in raw["weights"].items()},
        quantiles={
            s: (numbers(q["probabilities"]), numbers(q["scores"]))
            for s, q in raw["quantiles"].items()
        },
        settings=FusionSettings(**raw["settings"]),
        surface_settings={s: dict(v) for s, v in raw.get("surface_settings", {}).items()},
        tuned_on={s: int(v) for s, v in raw["tuned_on"].items()},
        version=version,
    )


def _check(artifact: FusionArtifact, directory: Path) -> None:
    """Raise ArtifactCorrupt naming the file and the field that cannot be right."""
    n, d = len(artifact.item_keys), len(artifact.domain_names)
    shapes: dict[str, tuple[npt.NDArray[Any], tuple[int, ...]]] = {
        "vectors": (artifact.vectors, (n, artifact.vectors.shape[-1])),
        "popularity": (artifact.popularity, (n,)),
        "domain_transition": (artifact.domain_transition, (d, d)),
        "domain_prior": (artifact.domain_prior, (d,)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape or not np.isfinite(array).all():
            raise ArtifactCorrupt(
                f"{directory / ARRAYS}: '{name}' is {array.shape}, expected finite {shape} "
                f"for {n} items and {d} domains; {_REMEDY}"
            )
    if (artifact.settings.ranker == NETWORK) != bool(artifact.rankers):
        raise _refused(directory, f"setting 'ranker' is '{artifact.settings.ranker}'")
    for surface in ("", *artifact.surface_settings):
        try:
            settings = _given(artifact, surface)
        except TypeError as error:
            raise ArtifactCorrupt(
                f"{directory / SETTINGS}: the settings of {surface}: {error}; {_REMEDY}"
            ) from None
        _check_settings(settings, directory / SETTINGS)
    for surface, weights in artifact.weights.items():
        values = np.array(list(weights.values()))
        if not len(values) or not (values >= 0).all() or abs(float(values.sum()) - 1) > 1e-3:
            raise ArtifactCorrupt(
                f"{directory / SETTINGS}: the weights of {surface} are {dict(weights)}, "
                f"expected numbers from 0 that sum to 1; {_REMEDY}"
            )
    for source, (probabilities, scores) in artifact.quantiles.items():
        both = (probabilities, scores)
        rising = all(np.isfinite(v).all() and (np.diff(v) >= 0).all() for v in both)
        if len(probabilities) != len(scores) or not rising:
            raise ArtifactCorrupt(
                f"{directory / SETTINGS}: the quantiles of {source} are not two ascending "
                f"lists of one length; {_REMEDY}"
            )


def _check_settings(settings: FusionSettings, path: Path) -> None:
    if settings.ranker not in RANKERS:
        raise ArtifactCorrupt(
            f"{path}: ranker '{settings.ranker}', this release has {', '.join(RANKERS)}; {_REMEDY}"
        )
    for name, value in dataclasses.asdict(settings).items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name != "ranker" and not (number and np.isfinite(value) and value >= 0):
            raise ArtifactCorrupt(
                f"{path}: setting '{name}' is {value!r}, expected a number from 0; {_REMEDY}"
            )
