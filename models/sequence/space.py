"""What of the sequence model is worth searching. Lengths of training are set, not searched."""

from collections.abc import Mapping

from models.sequence.config import Config
from models.space import Between, OneOf, Space

_ALL: Mapping[str, Space] = {
    "width": OneOf(("32", "64", "128")),
    "blocks": OneOf(("1", "2", "3")),
    "dropout": Between(0, 0.6),
    "learning_rate": Between(0.0003, 0.01, log=True),
    "weight_decay": Between(0.001, 0.3, log=True),
    "negative_power": Between(0, 1),
}


def space(config: Config) -> Mapping[str, Space]:
    """Return field -> space; the temperature's only where scores are cosines."""
    if not config.temperature:
        return _ALL
    return {**_ALL, "temperature": Between(0.03, 0.2, log=True)}
