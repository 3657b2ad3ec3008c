"""The demo itself, on the small data: it checks its own claims, so exit 0 says a lot."""

import psutil

from tests.e2e.conftest import PORTION, Ground, plait


def test_the_demo_walks_through_all_seven_steps_and_leaves_nothing(ground: Ground) -> None:
    mine = {child.pid for child in psutil.Process().children(recursive=True)}
    done = plait("demo", "--root", str(ground.places.root), *PORTION)
    assert done.returncode == 0, done.stdout + done.stderr
    for number in range(1, 8):
        assert f"{number} of 7" in done.stdout
    assert "All seven steps held" in done.stdout
    assert "ms from sending the event to the changed answer" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    left = {child.pid for child in psutil.Process().children(recursive=True)} - mine
    assert not left
