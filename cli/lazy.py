"""A click group that imports a command's module only when that command runs.

Training needs torch and importing data needs polars; asking a running gateway
needs neither. One line of help per command lives here in the table, so that
`plait --help` imports nothing either.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from artifacts.errors import ArtifactError
from cli.failures import UserError, of_the_machine
from gateway.errors import StoreError
from models.data.errors import DataError
from services.runtime.config import ConfigError

_OURS = {"artifacts", "cli", "gateway", "models", "plait", "inference", "services"}
# Failures that come from what the user gave; their messages say what to do.
_EXPECTED = (ArtifactError, DataError, ConfigError, StoreError)


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lies ("module:attribute") and one line about it."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are a table; raises UserError for expected failures."""

    def __init__(self, *args: Any, commands: Mapping[str, Command], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = commands

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table: the order a newcomer needs them."""
        return list(self._table)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a command, None if there is no such name."""
        entry = self._table.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.target.split(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in _OURS:
                raise
            raise UserError(
                f"`plait {cmd_name}` needs {error.name}, which is not installed: "
                "pip install 'plait[train,cpu]'"
            ) from None
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.target} is no click command")
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an expected failure becomes one line on standard error."""
        try:
            return super().invoke(ctx)
        except _EXPECTED as error:
            raise UserError(str(error)) from None
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            # Python reads such bytes of a command line as halves of characters.
            raise UserError(f"{error.object!a}: not UTF-8, which ids and words must be") from None
        except OSError as error:
            if (failure := of_the_machine(error)) is None:
                raise
            raise failure from None
