"""Builds the serving environments of the Dockerfile where there is no Docker.

    python -m tests.contracts.replay_dockerfile DIRECTORY

runs the COPY and RUN lines of the serving stages below DIRECTORY instead of /,
and starts each role from what came out, on an empty model repository: reaching
"no artifact" takes every import. It downloads packages, so it is no part of
`make test`; run it when the Dockerfile or the lock changes.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.contracts.dockerfile import SERVING, entry_point, environment_of, stages
from tests.contracts.repository import ROOT


def replay(stage: str, root: Path) -> None:
    """Do what a stage does, with root/app and root/opt/plait; raises CalledProcessError."""
    # The environments are built on each other and share their files.
    work = root / "src" / ("code" if stage == "code" else "environment")
    work.mkdir(parents=True, exist_ok=True)
    system = root / "python"
    if not system.exists():
        venv.create(system, with_pip=True)
    path = f"{system / 'bin'}:{os.environ['PATH']}"
    for step in stages()[stage].instructions:
        if step.name == "COPY":
            *origins, target = step.value.split()
            for origin in origins:
                _copy(ROOT / origin, work / (target if target != "./" else origin))
        elif step.name == "RUN":
            line = re.sub(r"(?<=[ \"])/(opt/plait|app)\b", rf"{root}/\1", step.value)
            env = {**os.environ, "PATH": path, "ACCELERATOR": "cpu"}
            subprocess.run(["/bin/sh", "-c", line], cwd=work, check=True, env=env)


def _copy(origin: Path, target: Path) -> None:
    if origin.is_dir():
        shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(origin, target)


def start(role: str, root: Path) -> str:
    """Start a role on an empty repository; return its last log line."""
    empty = root / "models"
    empty.mkdir(exist_ok=True)
    _, *arguments = entry_point(role)
    prefix = f"PLAIT_{role.upper()}"
    env = {
        "PYTHONPATH": str(root / "app"),
        f"{prefix}_REPOSITORY": str(empty),
        f"{prefix}_PORT": "0",
        f"{prefix}_METRICS_PORT": "0",
    }
    if role == "gateway":
        env |= {"PLAIT_GATEWAY_STATE": str(root / "state"), "PLAIT_GATEWAY_EXPOSURE_LOG": ""}
    python = root / "opt/plait/bin/python"
    done = subprocess.run(
        [python, *arguments], env=env, cwd=root, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1]}"


def main() -> int:
    """Replay everything; return 1 where a role did not come as far as its repository."""
    root = Path(sys.argv[1]).resolve()
    replay("code", root)
    failed = False
    for environment in ("gateway-env", "source-env", "encoder-env", "text-env"):
        replay(environment, root)
        for role in (r for r in SERVING if environment_of(r) == environment):
            said = start(role, root)
            failed |= "no artifact" not in said
            sys.stdout.write(f"{role} from {environment}: {said}\n")
        size = sum(f.stat().st_size for f in (root / "opt/plait").rglob("*") if f.is_file())
        sys.stdout.write(f"{environment}: {size / 1e6:.0f} MB\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
