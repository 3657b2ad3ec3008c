"""What a process serves, as far as others have to serve the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """The versions of one source and the names under which their models can be reached."""

    # Version -> names of its models that are not unloaded.
    versions: Mapping[int, tuple[str, ...]]
    default: int | None
    # As in choice.Choice.
    chosen: int | None
    previous: int | None

    def dump(self, turn: int) -> str:
        """Return it as text, with the number of the change that made it."""
        return json.dumps(
            {
                "turn": turn,
                "versions": {str(v): names for v, names in self.versions.items()},
                "default": self.default,
                "chosen": self.chosen,
                "previous": self.previous,
            }
        )


def parse(text: str) -> tuple[int, Picture]:
    """Read what `dump` wrote."""
    raw = json.loads(text)
    versions = {int(v): tuple(names) for v, names in raw["versions"].items()}
    return raw["turn"], Picture(versions, raw["default"], raw["chosen"], raw["previous"])
