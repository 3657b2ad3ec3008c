"""The trials so far and what to try next: the only file that knows Optuna.

The one idea: what is tried next depends on the seed and on the concluded trials alone,
which lie in a journal. So a search that was cut short goes on as if it had not been.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from cli.tuning.space import as_text, whole
from models.data.errors import OptionError
from models.space import OneOf, Space

_WHY, _SECONDS, _SETTINGS = "why", "seconds", "settings"


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of settings that was tried."""

    number: int  # from 1
    settings: Mapping[str, str]  # field -> text for --set
    value: float | None  # of the main metric; None: it failed
    seconds: float = 0.0
    why: str = ""  # it failed


@dataclass(frozen=True, slots=True)
class Attempt:
    """Settings that are being tried."""

    settings: Mapping[str, str]
    trial: optuna.Trial


class Study:
    """A search that is kept in a file. One process at a time."""

    def __init__(
        self,
        file: Path,
        name: str,
        space: Mapping[str, Space],
        config: Any,
        *,
        fresh: bool = False,
    ) -> None:
        """Open the search `name` in `file`, or begin it; `config` holds what is not searched.

        `fresh` begins it again, and leaves other searches in the file as they are. Raises
        OptionError where the file is no journal.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        _mend(file)
        self._config = config
        self._space = {field: _distribution(config, field, s) for field, s in space.items()}
        storage = JournalStorage(JournalFileBackend(str(file)))
        if fresh and name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=name, storage=storage)
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction="maximize",
            load_if_exists=True,
        )
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(left.number, state=TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """Return the concluded trials in their order."""
        found: list[Trial] = []
        for trial in self._study.get_trials(deepcopy=False):
            said = trial.user_attrs
            if trial.state == TrialState.COMPLETE or _WHY in said:
                found.append(
                    Trial(
                        len(found) + 1, said[_SETTINGS], trial.value,
                        said.get(_SECONDS, 0.0), said.get(_WHY, ""),
                    )
                )  # fmt: skip
        return found

    def ask(self, seed: int) -> Attempt:
        """Return the next settings to try."""
        # A sampler for each question: its state is the seed and the concluded trials.
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + len(self.trials()))
        trial = self._study.ask(self._space)
        settings = {
            field: as_text(self._config, field, trial.params[field]) for field in self._space
        }
        trial.set_user_attr(_SETTINGS, settings)
        return Attempt(settings, trial)

    def tell(self, attempt: Attempt, value: float | None, *, seconds: float, why: str = "") -> None:
        """Conclude an attempt: with its value, or with why there is none."""
        attempt.trial.set_user_attr(_SECONDS, round(seconds, 3))
        if value is None:
            attempt.trial.set_user_attr(_WHY, why)
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        self._study.tell(attempt.trial, value, state=state)


def _mend(file: Path) -> None:
    """Take away the end of a journal that was not written whole; a full disk leaves such.

    Optuna reads no journal with half a line. Raises OptionError, and changes nothing, where
    a line before it is not a journal's.
    """
    if not file.is_file():
        return
    content = file.read_bytes()
    whole_lines = content[: content.rfind(b"\n") + 1]
    # A file of another kind, of a single line without an end, is none either.
    for number, line in enumerate(whole_lines.splitlines() or content.splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or "op_code" not in entry:
            raise OptionError(
                f"{file}, line {number}: not a line of a study's journal; name another file with "
                "--study, or remove this one to begin again"
            )
    if len(whole_lines) < len(content):
        os.truncate(file, len(whole_lines))


def _distribution(config: Any, field: str, space: Space) -> BaseDistribution:
    if isinstance(space, OneOf):
        return CategoricalDistribution(space.values)
    if whole(config, field):
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)
