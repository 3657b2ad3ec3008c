"""Who may import whom, and that nothing is imported on the sly."""

import ast

from tests.contracts.repository import run, tool, tracked_files


def test_every_import_contract_is_kept() -> None:
    result = run(tool("lint-imports"), "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_metrics_are_declared_in_one_file_only() -> None:
    strays = []
    for path in tracked_files():
        if path.suffix != ".py" or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "prometheus_client":
                kinds = {alias.name for alias in node.names}
                if kinds & {"Counter", "Gauge", "Histogram", "Summary"}:
                    strays.append(str(path))
    assert [p for p in strays if not p.endswith("services/runtime/metrics.py")] == []


def test_the_environment_is_read_where_processes_start_and_nowhere_else() -> None:
    readers: set[str] = set()
    for path in tracked_files():
        if path.suffix != ".py" or not {"services", "gateway", "artifacts"} & set(path.parts):
            continue
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
                readers.add(path.parts[-2] + "/" + path.name)
    # artifacts/__init__.py writes one variable, for ONNX Runtime. Where a worker counts is
    # settled when the first metric is made, at import.
    assert {r for r in readers if not r.endswith("__main__.py")} <= {
        "artifacts/__init__.py",
        "workers/place.py",
    }
