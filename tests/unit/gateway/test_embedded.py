"""Models within the gateway answer as servers would."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gateway.embedded import EmbeddedLink
from gateway.fanout import fan_out
from gateway.rounds import Rounds
from gateway.sources import Source as Asked
from gateway.traffic import Traffic
from gateway.types import Outcome, Question
from services.cf.server import SOURCE as CF
from services.runtime.hosting import Limits
from services.runtime.model import Model
from services.runtime.source import Source
from tests.support.artifacts import Tiny, publish

TINY = Tiny()
_POISON = int(TINY.keys[0])


def _open(directory: Path) -> Mapping[str, Model[Any]]:
    """Open a model whose engine fails for whoever has a certain item."""
    models = CF.open(directory)
    model: Any = models["cf"]
    infer = model.infer

    def failing(batch: Any) -> Any:
        if (batch.history == _POISON).any():
            raise RuntimeError("of no kind that anybody foresaw")
        return infer(batch)

    model.infer = failing
    return models


async def test_a_question_that_breaks_the_model_takes_no_other_of_its_call_down(
    tmp_path: Path,
) -> None:
    publish(tmp_path, TINY)
    link = EmbeddedLink(Source("cf", ("cf",), _open), tmp_path, Limits())
    await link.load()
    source, one = Asked(link, Rounds(Traffic())), np.ones(1, np.float32)
    questions = [Question(key, one, k=5) for key in TINY.keys[:4, None]]
    until = time.perf_counter() + 10
    answers = await asyncio.gather(*(fan_out([source], {"cf": q}, until) for q in questions))
    await link.stop()
    assert [a["cf"].outcome for a in answers] == [Outcome.ERROR, *[Outcome.OK] * 3]
