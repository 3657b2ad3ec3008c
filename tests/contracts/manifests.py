"""Builds the Kubernetes manifests offline, as `kubectl apply -k` would, and looks into them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.contracts.repository import run, tool

Object = dict[str, Any]
SEVERAL = "k8s/overlays/several-gateways"
TARGETS = ("k8s/base", "k8s/overlays/local", SEVERAL)
COMPONENT = "app.kubernetes.io/component"
# What several gateways share; no process of ours.
JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet and what the checks look at."""

    whole: Object

    @property
    def role(self) -> str:
        """Return the process it runs: gateway, cf, ..."""
        return str(self.whole["metadata"]["labels"][COMPONENT])

    @property
    def pod(self) -> Object:
        """Return the pod template."""
        template: Object = self.whole["spec"]["template"]
        return template

    @property
    def container(self) -> Object:
        """Return its one container."""
        (container,) = self.pod["spec"]["containers"]
        found: Object = container
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables the container starts with, but for those of Secrets."""
        return {e["name"]: e["value"] for e in self.container["env"] if "value" in e}

    @property
    def secrets(self) -> dict[str, Object]:
        """Return where the variables that come from Secrets are."""
        given = [e for e in self.container["env"] if "valueFrom" in e]
        return {e["name"]: e["valueFrom"]["secretKeyRef"] for e in given}

    @property
    def ports(self) -> dict[str, int]:
        """Return container ports by name."""
        return {p["name"]: p["containerPort"] for p in self.container["ports"]}


@cache
def build(target: str) -> tuple[Object, ...]:
    """Return every object of a kustomization; fails with kustomize's own words."""
    result = run(tool("kubectl"), "kustomize", target)
    assert result.returncode == 0, result.stderr
    return tuple(yaml.safe_load_all(result.stdout))


def of_kind(target: str, *kinds: str) -> Iterator[Object]:
    """Return the objects of some kinds."""
    return (o for o in build(target) if o["kind"] in kinds)


def everything(target: str) -> list[Workload]:
    """Return everything that runs pods."""
    return [Workload(o) for o in of_kind(target, "Deployment", "StatefulSet")]


def workloads(target: str) -> list[Workload]:
    """Return everything that runs processes of ours."""
    return [w for w in everything(target) if w.role != JOURNAL]


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Does a label selector choose these labels?"""
    return selector.items() <= labels.items()
