"""Reads the Dockerfile: stages and their instructions, enough to check and to replay it."""

import re
from dataclasses import dataclass

from tests.contracts.repository import ROOT

SERVING = ("gateway", "cf", "content", "sequence", "text")
ROLES = (*SERVING, "train")
_LISTED = re.compile(r"grep -E '\^\(([^)]+)\)=='")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its lines joined."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def values(self, name: str) -> list[str]:
        """Return what the instructions of a name say, in order."""
        return [i.value for i in self.instructions if i.name == name]


def stages() -> dict[str, Stage]:
    """Return the stages of the Dockerfile by name, in order."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, lines)):
        name, _, value = line.partition(" ")
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            found[alias] = Stage(alias, base, ())
        elif found:
            stage = list(found.values())[-1]
            more = (*stage.instructions, Instruction(name, value.strip()))
            found[stage.name] = Stage(stage.name, stage.base, more)
    return found


def ancestry(name: str) -> list[Stage]:
    """Return a stage and the stages it is built on, the lowest first."""
    every = stages()
    chain: list[Stage] = []
    while name in every:
        chain.insert(0, every[name])
        name = every[name].base
    return chain


def environment_of(role: str) -> str:
    """Return the stage whose /opt/plait the image of a role copies."""
    copies = [v for stage in ancestry(role) for v in stage.values("COPY")]
    return next(re.findall(r"--from=(\S+)", c)[0] for c in copies if c.endswith("/opt/plait"))


def packages_of(environment: str) -> set[str]:
    """Return the packages an environment takes from the lock file."""
    runs = [run for stage in ancestry(environment) for run in stage.values("RUN")]
    return {name for run in runs for names in _LISTED.findall(run) for name in names.split("|")}


def settings(role: str) -> dict[str, str]:
    """Return the PLAIT_ variables an image sets."""
    lines = [v for s in ancestry(role) for v in s.values("ENV")]
    pairs = [word.partition("=") for line in lines for word in line.split()]
    return {name: value for name, _, value in pairs if name.startswith("PLAIT_")}


def entry_point(role: str) -> list[str]:
    """Return the words of a role's ENTRYPOINT; fails where it is not the exec form."""
    (value,) = stages()[role].values("ENTRYPOINT")
    assert value.startswith('["'), f"{role}: ENTRYPOINT must be in exec form"
    return re.findall(r'"([^"]+)"', value)
