"""docs/evaluation.md explains every field of the JSON, every row, metric and protocol."""

import dataclasses
import re

import pytest

from cli.evaluation.plan import ROWS
from models.evaluate import report
from models.evaluate.metrics import ACCURACY
from models.evaluate.parts import PROTOCOLS
from tests.contracts.repository import ROOT

DOCUMENT = (ROOT / "docs/evaluation.md").read_text()
WORDS = set(re.findall(r"`([a-z_0-9-]+)`", DOCUMENT))
# Bins, points and their like are named where their field is explained.
CLASSES = (report.Report, report.Table, report.Row, report.SliceResult, report.Difference,
           report.Bin, report.Point, report.Ablation, report.Setting, report.Sweep)  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_of_the_json_is_documented(kind: type) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert fields - WORDS == set()


@pytest.mark.parametrize("name", [*ROWS, *ACCURACY, *PROTOCOLS, "coverage", "diversity",
                                  "novelty", "miscalibration", "gini"])  # fmt: skip
def test_every_name_a_reader_meets_is_documented(name: str) -> None:
    assert name in WORDS


def test_the_schema_version_is_the_documented_one() -> None:
    assert f"`schema_version` is {report.SCHEMA_VERSION}" in DOCUMENT
