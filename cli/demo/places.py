"""Where the demo keeps its files, and how much of the data it uses."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """The directories and files of one demo, all under one root."""

    root: Path = Path("var")

    @property
    def dataset(self) -> Path:
        """Return the imported dataset."""
        return self.root / "data" / "complete-journey"

    @property
    def models(self) -> Path:
        """Return the model repository."""
        return self.root / "models"

    @property
    def state(self) -> Path:
        """Return the store that `plait up` uses; the demo only makes it if there is none."""
        return self.root / "state.sqlite"

    @property
    def own(self) -> Path:
        """Return the demo's own directory: its stores and its log."""
        return self.root / "demo"

    @property
    def seed(self) -> Path:
        """Return the store as seeded, copied for each demo."""
        return self.own / "seed.sqlite"

    @property
    def played(self) -> Path:
        """Return the store of the running demo."""
        return self.own / "state.sqlite"

    @property
    def log(self) -> Path:
        """Return what the five processes said."""
        return self.own / "processes.log"


@dataclass(frozen=True, slots=True)
class Portion:
    """How much of the data: 0 means all of it. Tests use a small portion."""

    households: int = 0
    products: int = 0

    @property
    def name(self) -> str:
        """Return the dataset's name."""
        cut = f"-{self.households}x{self.products}" if self.households or self.products else ""
        return f"complete-journey{cut}"
