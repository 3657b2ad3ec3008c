"""Whether a process serves, also where its event loop cannot say so."""

import asyncio
import time

import pytest

from services.runtime.pulse import Pulse


async def test_a_loop_that_stands_still_does_not_serve_until_it_turns_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.runtime.pulse._EVERY", 0.02)
    monkeypatch.setattr("services.runtime.pulse._LONGEST", 1.0)
    said: list[bool] = []
    pulse = Pulse(said.append)
    pulse.say(False)
    pulse.start()
    pulse.say(True)
    await asyncio.sleep(0.2)
    assert said == [False, True]
    time.sleep(1.5)  # noqa: ASYNC251 -- that is the trouble
    assert said == [False, True, False]
    await asyncio.sleep(0.3)
    assert said == [False, True, False, True]
    pulse.stop()
