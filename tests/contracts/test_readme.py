"""What the documentation tells people to type exists, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, plait
from tests.contracts.repository import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(?:sh|bash|console|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:make|plait) [^`]+)`")
_COMMAND = re.compile(r"(?:\$ )?(?:\S+/)?(?P<name>make|plait)(?:\s+(?P<rest>.*)|$)")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix()
)


def commands(document: Path) -> list[list[str]]:
    """Every `make` and `plait` command of a document, in words."""
    text = document.read_text()
    lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
    lines += _INLINE.findall(text)
    ours = (match for line in lines if (match := _COMMAND.match(line)))
    return [shlex.split(f"{match['name']} {match['rest']}", comments=True) for match in ours]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@each_document
def test_every_make_target_exists(document: Path) -> None:
    for command in commands(document):
        if command[0] == "make":
            named = [w for w in command[1:] if re.fullmatch(r"[a-z-]+", w)]
            assert set(named) <= targets(), command


@each_document
def test_every_plait_command_and_option_exists(document: Path) -> None:
    for _, *words in (c for c in commands(document) if c[0] == "plait"):
        name = next((w for w in words if not w.startswith("-")), "")
        if name not in COMMANDS:
            assert not name or not name.islower(), f"plait has no command '{name}'"
            continue
        command = plait.get_command(click.Context(plait), name)
        assert command is not None
        options = known_options(command)
        for word in words[words.index(name) + 1 :]:
            if word.startswith("--"):
                assert word.partition("=")[0] in options, f"plait {name} has no {word}"


def known_options(command: click.Command) -> set[str]:
    """The options of a command and of the commands below it."""
    below = list(command.commands.values()) if isinstance(command, click.Group) else []
    return {
        option
        for each in (command, *below)
        for parameter in each.get_params(click.Context(each))
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@each_document
def test_every_link_within_the_repository_leads_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), target
