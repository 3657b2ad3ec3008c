"""A command module whose library is not installed."""

import click
import no_such_library  # type: ignore[import-not-found]


@click.command()
def command() -> None:
    """Do nothing: the import above fails first."""
    no_such_library.work()
