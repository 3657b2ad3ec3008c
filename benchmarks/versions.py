"""Versions of Plait to measure beside each other: another checkout, other settings."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.failures import UserError

# A part of file names, too.
_NAME = re.compile(r"\w[\w.+-]*")
WRITTEN = "NAME[=PART,...]"
MEANT = (
    f"{WRITTEN}: PART is the folder of another checkout, whose code then runs,\n"
    "or a setting, PLAIT_GATEWAY_X=VALUE"
)


@dataclass(frozen=True, slots=True)
class Version:
    """A name, and what its processes find in their environment."""

    name: str
    environment: Mapping[str, str]


def version(text: str) -> Version:
    """Read what the command line says of a version; raises UserError."""
    name, _, rest = text.partition("=")
    if not _NAME.fullmatch(name):  # a folder without a name before it would run this checkout
        raise UserError(f"{text}: a version is written {WRITTEN}, as before=../before")
    environment: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        if "=" not in part:
            environment |= _code_in(name, Path(part))
            continue
        try:
            environment |= [setting(part)]
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{name}: {error}") from None
    return Version(name, environment)


def setting(text: str) -> tuple[str, str]:
    """Read PLAIT_GATEWAY_X=VALUE, for argparse."""
    name, is_setting, value = text.partition("=")
    if not is_setting or not name.startswith("PLAIT_"):
        raise argparse.ArgumentTypeError(
            f"{name} is no setting; they are written PLAIT_GATEWAY_X=VALUE"
        )
    return name, value


def versions(texts: list[str]) -> dict[str, Version]:
    """Read several, by name; raises UserError where two have the same."""
    read = [version(text) for text in texts]
    made = {each.name: each for each in read}
    if len(made) < len(read):
        raise UserError("versions need names of their own")
    return made


def _code_in(name: str, folder: Path) -> dict[str, str]:
    home = folder.resolve()
    if not (home / "gateway" / "__main__.py").is_file():
        raise UserError(f"{name}: {folder} is no checkout of Plait: it has no gateway/__main__.py")
    # Ahead of the installed one, and of the folder that the processes are started in.
    return {"PYTHONPATH": os.pathsep.join((str(home), str(home / "protos"))), "PYTHONSAFEPATH": "1"}
