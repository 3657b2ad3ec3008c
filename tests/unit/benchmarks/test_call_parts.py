"""Where a call's time goes is asked of the model that a service opens."""

from pathlib import Path

import numpy as np

from artifacts import layout
from benchmarks import call_parts
from benchmarks.job import publish
from benchmarks.job.world import world
from models.histories import Histories
from services.cf.server import open_models


def test_every_part_of_what_the_job_publishes_has_a_time(tmp_path: Path) -> None:
    shop = world(seed=1, items=2_000)
    keys = shop.histories(200)
    given = shop, Histories(keys, np.ones(keys.shape, np.float32)), tmp_path
    publish._publish(tmp_path, "cf", publish.Config(), given, whole=False)
    found = call_parts.parts(open_models(layout.find(tmp_path, "cf", None))["cf"])
    assert min(found.values()) > 0
