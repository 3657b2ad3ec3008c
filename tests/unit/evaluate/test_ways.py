"""Which ways to fuse are rows: those that differ on the surface that is judged."""

from dataclasses import replace

from artifacts.fusion import NETWORK
from cli.evaluation.ways import ways
from tests.unit.fusion.test_artifact import artifact
from tests.unit.fusion.test_ranker import learned


def test_a_surface_without_a_ranker_has_the_rows_of_its_weighted_sum() -> None:
    """Another surface's ranker turns the setting on, which is one for all."""
    made = artifact(rankers={"SEARCH": learned()})
    made = replace(made, settings=replace(made.settings, ranker=NETWORK, w_cross_domain=0.1))
    rows = ("convex", "fused")
    home = [way.name for way in ways(made, rows, "HOME", timed=True)]
    assert {"fused, no trends", "fused, no cross-domain"} <= {*home}
    assert "fused, no ranker" not in home
    assert "fused, no ranker" in [way.name for way in ways(made, rows, "SEARCH", timed=True)]
