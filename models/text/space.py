"""What of the text source is worth searching by what shoppers did next."""

from collections.abc import Mapping

from models.space import Between, Space
from models.text.train import Config


def space(config: Config) -> Mapping[str, Space]:  # noqa: ARG001 -- the same for all
    """Return field -> space. Nothing is learned: what is left is how much history counts."""
    return {"max_history": Between(2, 200, log=True)}
