"""What of the content model is worth searching. Lengths of training are set, not searched."""

from collections.abc import Mapping

from models.content.train import Config
from models.space import Between, OneOf, Space


def space(config: Config) -> Mapping[str, Space]:  # noqa: ARG001 -- the same for all
    """Return field -> space."""
    return {
        "width": OneOf(("32", "64", "128")),
        "own_norm": Between(0.1, 2, log=True),
        "own_dropout": Between(0, 0.6),
        "learning_rate": Between(0.001, 0.02, log=True),
        "weight_decay": Between(0.001, 0.3, log=True),
    }
