"""The five processes as one thing that starts, stays up and stops.

Order is the one idea: models before the gateway on the way up, each awaited
until it reports SERVING; the gateway before the models on the way down, so that
no request is cut off. In between, whatever dies is started again, after a pause
that grows while it keeps dying.

Usable as a context manager by `plait up`, the demo, tests and benchmarks.
"""

import contextlib
import threading
import time
from types import TracebackType

from cli.child import Child, LogSink
from cli.failures import UserError
from cli.fleet_config import FleetConfig, check_artifacts, child_environment
from cli.health import health
from cli.loglines import message
from cli.topology import GATEWAY, STORE, check_ports

SUPERVISOR = "plait"


def quiet(name: str, line: str) -> None:
    """Take a log line and drop it."""


def _unfailing(log: LogSink) -> LogSink:
    """Return a sink that drops what cannot be written, on a full disk or to a reader who left.

    Whoever logs must go on: a thread that ended here would leave its process writing into a
    pipe that nobody reads, where it stands still once the pipe is full.
    """

    def take(name: str, line: str) -> None:
        # SystemExit is what rich raises where a pipe has no reader any more.
        with contextlib.suppress(OSError, ValueError, SystemExit):
            log(name, line)

    return take


class Fleet:
    """The five processes; `start()` and `stop()`, or a `with` block."""

    def __init__(self, config: FleetConfig, log: LogSink = quiet) -> None:
        self.config = config
        self.topology = config.topology
        self._log = _unfailing(log)
        environment = child_environment(config)
        self._children = {e.name: Child(e, environment, self._log) for e in config.topology.all}
        self._stopping = threading.Event()
        # Nothing is started again any more; and all has ended.
        self._settled, self._over = threading.Event(), threading.Event()
        self._watch = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._started: dict[str, float] = {}
        self._deaths: dict[str, int] = {}

    def start(self) -> None:
        """Check, start the models, then the gateway; on UserError nothing is left running."""
        check_artifacts(self.config)
        check_ports(self.topology)
        try:
            sources = [self._children[e.name] for e in self.topology.sources]
            self._start_and_wait(sources)
            self._start_and_wait([self._children[GATEWAY]])
        except BaseException:
            self.stop()
            raise
        # Not before all are up: until then a death means that the start failed.
        if self.config.restart:
            self._watch.start()

    def stop(self) -> None:
        """Stop the gateway, then the models; within about twice stop_seconds, whatever they do."""
        self._stopping.set()
        if self._watch.ident is not None:
            self._settled.wait()
        try:
            self._end([self._children[GATEWAY]])
            self._end([self._children[e.name] for e in self.topology.sources])
        except BaseException:  # an impatient Ctrl-C: not an orderly end, but an end
            self.kill_all()
            raise
        finally:
            self._over.set()

    def request_stop(self) -> None:
        """Make a `start()` that is under way give up; safe in a signal handler."""
        self._stopping.set()

    def kill_all(self) -> None:
        """Kill everything at once, for those who cannot wait."""
        self._stopping.set()
        for child in self._children.values():
            child.kill()

    def kill(self, name: str) -> int:
        """Kill one process the hard way, as a crash would; return its process id."""
        child = self._children[name]
        child.kill()
        return child.pid

    def pid(self, name: str) -> int:
        """Return the process id of a process, 0 if it was never started."""
        return self._children[name].pid

    def wait_healthy(self, name: str, seconds: float) -> bool:
        """Wait until a process reports SERVING; False if it does not in time."""
        until = time.monotonic() + seconds
        while health(self.topology.find(name).address) != "serving":
            if time.monotonic() >= until or self._stopping.wait(0.05):
                return False
        return True

    def __enter__(self) -> "Fleet":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _say(self, text: str) -> None:
        self._log(SUPERVISOR, text)

    def _start_one(self, child: Child) -> None:
        child.start()
        self._started[child.name] = time.monotonic()

    def _start_and_wait(self, children: list[Child]) -> None:
        began = time.monotonic()
        due = began + self.config.start_seconds
        for child in children:
            self._start_one(child)
        waiting = list(children)
        while waiting:
            for child in list(waiting):
                if child.exit_code() is not None:
                    raise UserError(_failed(child))
                if health(child.endpoint.address) == "serving":
                    waiting.remove(child)
                    took = time.monotonic() - began
                    self._say(f"{child.name} serves at {child.endpoint.address} ({took:.1f} s)")
            if self._stopping.wait(0.05):
                raise UserError("Stopped before all processes were up")
            if waiting and time.monotonic() > due:
                self._bear_with(waiting[0])
                due = time.monotonic() + self.config.start_seconds

    def _bear_with(self, child: Child) -> None:
        """Raise UserError where a process is late, but for a gateway that repairs its state file.

        That takes minutes, and given up it would begin anew at the next start. Called again
        where it is late for as long again: it has still to read what was repaired.
        """
        endpoint = child.endpoint
        if child.name != GATEWAY or health(endpoint.address, STORE) != "not serving":
            raise UserError(_late(child, self.config.start_seconds))
        self._say(f"{child.name} repairs its state file, which may take minutes")

    def _supervise(self) -> None:
        """Start again what dies, until told to stop. Runs in its own thread.

        The thread outlives what it started: by the leash the kernel kills a process when the
        thread that started it ends, which would leave it no time to drain.
        """
        try:
            self._start_again()
        finally:
            self._settled.set()
            self._over.wait()

    def _start_again(self) -> None:
        due: dict[str, float] = {}
        while not self._stopping.wait(0.05):
            now = time.monotonic()
            for child in self._children.values():
                if child.exit_code() is None:
                    continue
                if child.name not in due:
                    due[child.name] = now + self._pause(child, now)
                elif now >= due[child.name]:
                    del due[child.name]
                    child.close()
                    try:
                        self._start_one(child)
                    except OSError as error:  # no memory or process to be had: tried again later
                        self._say(f"{child.name} cannot be started: {error.strerror}")
                    else:
                        self._say(f"{child.name} started again (process {child.pid})")

    def _pause(self, child: Child, now: float) -> float:
        """Note a death, say so, and return the seconds to wait before the restart."""
        calm = now - self._started[child.name] >= self.config.calm_seconds
        deaths = 0 if calm else self._deaths.get(child.name, 0)
        self._deaths[child.name] = deaths + 1
        # Bounded: a process may die for days, and a number has an end.
        pause = min(self.config.first_pause * 2.0 ** min(deaths, 64), self.config.longest_pause)
        self._say(f"{child.name} {_ending(child)}; starting it again in {pause:.1f} s")
        return pause

    def _end(self, children: list[Child]) -> None:
        """Ask, wait, insist; then clear up."""
        for child in children:
            child.terminate()
        until = time.monotonic() + self.config.stop_seconds
        for child in children:
            if not child.wait(until - time.monotonic()):
                self._say(f"{child.name} did not stop in {self.config.stop_seconds:.0f} s: killed")
                child.kill()
                child.wait(5.0)
            child.close()


def _failed(child: Child) -> str:
    said = _last_words(child)
    return f"{child.name} {_ending(child)} instead of serving. {said}"


def _late(child: Child, seconds: float) -> str:
    return f"{child.name} does not serve after {seconds:.0f} s. {_last_words(child)}"


def _last_words(child: Child) -> str:
    child.close()
    lines = [message(line) for line in child.last_lines if line.strip()]
    return "It said: " + "\n  ".join(lines[-3:]) if lines else "It said nothing."


def _ending(child: Child) -> str:
    code = child.exit_code()
    return f"was killed by signal {-code}" if code is not None and code < 0 else f"exited ({code})"
