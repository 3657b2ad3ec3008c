"""Image vectors are one more thing that items are known by: learned from, weighed, served."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import torch

from artifacts.engines.item_tower import ItemTower
from artifacts.loader import load
from artifacts.manifest import read, verify
from inference import inference_pb2 as pb
from models.content.model import Shape, Tower
from models.content.prepare import image_vectors
from models.content.train import Config, train
from models.data.errors import DatasetError
from services.content.server import open_models
from services.runtime.errors import InvalidArgument
from services.runtime.tensors import write_request
from services.runtime.validation import read_request
from tests.support.shop import AISLES, shop

WIDTH = 24
# Many items, of which few are known well; no part of their own, so that looks decide.
SIZES = {"users": 100, "per_aisle": 40, "events_each": 16}
TINY = Config(
    width=16, hash_buckets=64, steps=120, further_steps=5, batch=48, negatives=48, length=12,
    learning_rate=0.01, own_norm=0.0, own_dropout=0.5, validation_users=60,
)  # fmt: skip
Vectors = npt.NDArray[np.float32]


def pictures(aisle: npt.NDArray[np.int64], seed: int = 0) -> Vectors:
    """As image models give them: a narrow cone, in which things of one kind lie together."""
    cone = 5 * np.random.default_rng(9).normal(size=WIDTH)
    kinds = np.random.default_rng(7).normal(size=(len(AISLES), WIDTH))
    noise = np.random.default_rng(seed).normal(size=(len(aisle), WIDTH))
    found: Vectors = (cone + kinds[aisle] + 0.3 * noise).astype(np.float32)
    return found


def silent_shop() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The small shop, of whose items nothing is said; one in ten has no image."""
    items, events = shop(**SIZES)
    keys = np.sort(items["item_key"].to_numpy())
    categories = items.sort("item_key")["category"].to_list()
    images = pictures(np.array([list(AISLES).index(c) for c in categories]))
    seen = [None if n % 10 == 3 else v.tolist() for n, v in enumerate(images)]
    column = pl.DataFrame(
        {"item_key": keys, "image_vector": pl.Series(seen, dtype=pl.List(pl.Float32))}
    )
    blank = dict.fromkeys(("text", "category", "brand", "domain"), pl.lit(""))
    bare = items.with_columns(title=pl.col("item_id"), price=pl.lit(None, pl.Float64), **blank)
    return bare.join(column, on="item_key"), events


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield train(TINY, *silent_shop(), tmp_path_factory.mktemp("models"))


def test_the_weight_of_images_is_chosen_by_what_was_held_out(trained: Path) -> None:
    manifest = read(trained)
    tried = {n: v for n, v in manifest.metrics.items() if n.startswith("image_weight/")}
    chosen = float(manifest.training_config["image_weight"])
    assert chosen > 0
    assert len(tried) == 4
    assert tried[f"image_weight/{chosen:g}"] == max(tried.values()) > tried["image_weight/0"]
    load(trained)


def test_a_new_item_lies_among_those_that_look_like_it(trained: Path) -> None:
    tower = ItemTower(trained, read(trained))
    assert tower.image_width == WIDTH
    nothing = [""] * 4
    prices = np.full(4, np.nan, np.float32)
    images = pictures(np.arange(4), seed=5)
    new = tower.encode(nothing, nothing, nothing, nothing, prices, images=images)
    items, _ = shop(**SIZES)
    aisle = np.array([list(AISLES).index(c) for c in items["category"].to_list()])
    keys = verify(trained)[1]
    order = np.searchsorted(keys, items["item_key"].to_numpy())
    vectors = np.load(trained / "item_vectors.npy")[order]
    likeness = vectors @ new.T
    for kind in range(4):
        assert likeness[aisle == kind, kind].mean() > likeness[aisle != kind, kind].mean() + 0.1
    longer = tower.encode(nothing, nothing, nothing, nothing, prices, images=3 * images)
    np.testing.assert_allclose(longer, new, atol=1e-5)
    unseen = tower.encode(nothing, nothing, nothing, nothing, prices)
    assert not unseen.any()


def test_the_service_takes_images_of_the_length_it_was_trained_with(trained: Path) -> None:
    model = open_models(trained)["content-items"]
    (spec,) = (s for s in model.inputs if s.name == "image_vector")
    assert (list(spec.shape), spec.optional) == ([-1, WIDTH], True)

    def request(width: int) -> pb.ModelInferRequest:
        text = np.array([[b""], [b""]], object)
        image = np.ones((2, width), np.float32)
        return write_request("content-items", {"text": text, "image_vector": image})

    with pytest.raises(InvalidArgument, match="image_vector"):
        read_request(request(WIDTH + 1), model.inputs, 8)
    taken = request(WIDTH)
    asked = model.read(read_request(taken, model.inputs, 8), taken.parameters)
    bare = write_request("content-items", {"text": np.array([[b"soap"]], object)})
    other = model.read(read_request(bare, model.inputs, 8), bare.parameters)
    first, second = model.split(model.infer(model.merge([asked, other])), [asked, other])
    assert first["embedding"].shape[0] == 2
    assert second["embedding"].any()
    model.warm_up([1, 2])


def test_a_weight_of_none_leaves_images_out(tmp_path: Path) -> None:
    items, events = silent_shop()
    none = replace(TINY, image_weight=0.0, steps=5)
    path = train(none, items, events, tmp_path)
    assert ItemTower(path, read(path)).image_width == 0


def test_an_item_without_an_image_is_as_the_mean_image_and_length_says_nothing() -> None:
    torch.manual_seed(0)
    mean = torch.nn.functional.normalize(torch.randn(6), dim=0)
    tower = Tower(Shape(items=3, buckets=8, width=4, text=5, image=6), image_mean=mean).eval()
    known = (torch.ones(3, 5), torch.ones(3, 4, dtype=torch.int64),
             torch.zeros(3, 24, dtype=torch.int64), torch.ones(3))  # fmt: skip
    image = torch.randn(6)
    found = tower(*known, torch.stack([torch.zeros(6), image, 7 * image]))
    torch.testing.assert_close(found[1], found[2])
    torch.testing.assert_close(found[0], tower(*known, None)[0])
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], "3 numbers for item 'b' and 2 for others"),
        ([[1.0, float("nan")], None], "item 'a' holds NaN or infinity"),
    ],
)
def test_images_of_unlike_length_and_no_numbers_are_refused(
    images: list[list[float] | None], message: str
) -> None:
    vectors = pl.Series(images, dtype=pl.List(pl.Float32))
    frame = pl.DataFrame({"item_id": ["a", "b"], "image_vector": vectors})
    with pytest.raises(DatasetError, match=message):
        image_vectors(frame)
