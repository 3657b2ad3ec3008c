"""Runs a command that dies with the process that started it. Used as a script.

python leash.py PARENT_PID NICENESS COMMAND...

The kernel's parent-death signal survives exec, so the command itself is exactly
what anybody would run. Where there is no such signal (it is Linux's), a parent
killed with SIGKILL leaves its children to their own shutdown.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str], niceness: int = 0) -> list[str]:
    """Return the command that runs a command tied to this process."""
    leash = [__file__, str(os.getpid()), str(niceness)]
    return [sys.executable, "-I", "-S", *leash, *command]


def main() -> None:
    """Tie this process to its parent, let others go first, then become the command."""
    parent, niceness, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.nice(niceness)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            sys.exit("the supervisor is gone")
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
