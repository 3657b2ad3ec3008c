"""Which versions a service was told to serve, kept beside them for its next start.

A service that crashes must come back as it was: a version that was rolled back
would otherwise return with the restart, as the newest there is, and a canary
would lose its version. So what callers decide (RepositoryModelLoad and Unload)
is written to REPOSITORY/<source>/.serving.json. A version pinned by the settings
goes before it.
"""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)
_NAME = ".serving.json"


@dataclass(frozen=True, slots=True)
class Choice:
    """What one service serves."""

    # Answers whoever names no version; None: nobody chose, the newest there is at the start.
    default: int | None
    # Loaded as well, for whoever names them.
    beside: tuple[int, ...] = ()
    # What was the default before, where a rollback leads; None: nowhere.
    previous: int | None = None


class ChoiceFile:
    """The file of one source. Neither method raises: serving goes on without it."""

    def __init__(self, repository: Path, source: str) -> None:
        self._path = repository / source / _NAME

    def read(self) -> Choice | None:
        """Return the last choice, None where there is none or it cannot be read."""
        try:
            return _parse(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
            _log.warning("choice of versions not read: %s (%s)", self._path, error)
            return None

    def write(self, choice: Choice) -> None:
        """Keep a choice, durably and all at once; blocks for one disk write."""
        draft = self._path.with_name(f"{_NAME}.{os.getpid()}")
        try:
            with draft.open("w") as file:
                json.dump(asdict(choice), file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            reason = error.strerror or str(error)
            _log.warning("choice of versions ends with this process: %s (%s)", self._path, reason)


def _parse(raw: dict[str, Any]) -> Choice:
    return Choice(_number(raw["default"]), tuple(map(int, raw["beside"])), _number(raw["previous"]))


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
