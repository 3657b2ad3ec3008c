"""The `plait` command: one group, its commands imported when they run."""

import io
import sys

import click

from cli.lazy import Command, LazyGroup

COMMANDS = {
    "demo": Command(
        "cli.demo.command:demo_command", "Train on real data, start everything, walk through."
    ),
    "up": Command("cli.up:up_command", "Start the five processes until Ctrl-C."),
    "import": Command("cli.import_:import_command", "Turn a shop's data into a dataset."),
    "train": Command("cli.train:train_command", "Train and export the models."),
    "evaluate": Command("cli.evaluate:evaluate_command", "Measure the models on held-out events."),
    "tune": Command("cli.tune:tune_command", "Search a model's settings on validation events."),
    "seed": Command("cli.seed:seed_command", "Load a dataset into the gateway's store."),
    "models": Command(
        "cli.models:models_command", "Show versions, health and latency; roll versions out."
    ),
    "recommend": Command("cli.recommend:recommend_command", "Recommend items to a shopper."),
    "search": Command("cli.search:search_command", "Find items for a query."),
    "rank": Command("cli.search:rank_command", "Order candidates of your own for a shopper."),
    "similar": Command("cli.recommend:similar_command", "Show items similar to one."),
    "profile": Command("cli.profile:profile_command", "Show what is known of a shopper."),
    "forget": Command("cli.forget:forget_command", "Delete all that is kept of a shopper."),
    "event": Command("cli.event:event_command", "Record what a shopper did."),
    "item": Command("cli.item:item_command", "Read, write and delete catalogue items."),
}


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nStart here:\n  plait demo\n  plait recommend 718 --explain",
)
@click.version_option(package_name="plait", prog_name="plait")
def plait() -> None:
    """Four recommenders woven into one ranking.

    The commands below `seed` talk to a running gateway (`plait up`).
    """


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A title that the locale cannot spell is shown with escapes, rather than not at all.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    plait(prog_name="plait")


if __name__ == "__main__":
    main()
