"""Where the installed `plait` begins: without its libraries it says how to get them."""

import sys

_NEEDS = (
    "plait: {name} is not installed; pip install 'plait[client]' for the commands that ask a "
    "running gateway, 'plait[train,cpu]' for all of them\n"
)


def main() -> None:
    """Run the command line, if what it is made of is there."""
    try:
        from cli.main import main as run  # noqa: PLC0415 -- its imports are what may be missing
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.stderr.write(_NEEDS.format(name=error.name))
        sys.exit(1)
    run()
