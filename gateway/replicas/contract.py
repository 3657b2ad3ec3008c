"""What one version of a model takes and gives, and which requests fit it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inference import inference_pb2 as pb

_LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Contract:
    """What one version of a model takes and gives, by tensor name."""

    version: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    # How long each input's rows are that the model fixes: (name, length), by name.
    widths: tuple[tuple[str, int], ...] = ()

    def width(self, name: str) -> int:
        """Return how long an input's rows are; 0 where the model lacks it or takes any."""
        return dict(self.widths).get(name, 0)

    @property
    def shape(self) -> tuple[frozenset[str], frozenset[str]]:
        """What a request is written by; versions with the same shape are interchangeable."""
        return self.inputs, self.outputs

    def fits(self, request: pb.ModelInferRequest, written_by: "Contract | None") -> bool:
        """Say whether a request can be answered by this version.

        A model may be sent less than it declares (a text nobody typed), but only by
        someone who knew of the rest: an input that `written_by` lacks would be missing.
        """
        names = {tensor.name for tensor in request.inputs}
        wanted = {tensor.name for tensor in request.outputs}
        known = names if written_by is None else names | written_by.inputs
        return names <= self.inputs and wanted <= self.outputs and self.inputs <= known


def widths_of(inputs: Iterable[tuple[str, Sequence[int]]]) -> tuple[tuple[str, int], ...]:
    """Return Contract.widths from names and shapes."""
    return tuple(sorted((n, int(s[1])) for n, s in inputs if len(s) == 2 and s[1] > 1))


def prevailing(contracts: Iterable[Contract]) -> Contract | None:
    """Return the contract to write requests by: of the shape most replicas share.

    Ties go to the newest version, so that a rollout moves on by itself. Of the
    versions with that shape, the newest is named.
    """
    groups: dict[tuple[frozenset[str], frozenset[str]], list[Contract]] = {}
    for contract in contracts:
        groups.setdefault(contract.shape, []).append(contract)
    if not groups:
        return None
    group = max(groups.values(), key=lambda g: (len(g), max(newness(c.version) for c in g)))
    return max(group, key=lambda c: newness(c.version))


def newness(version: str) -> tuple[int, str]:
    """Order versions: 10 is newer than 9; words come before numbers."""
    # Of thousands of digits Python makes no number.
    number = version.isascii() and version.isdecimal() and len(version) <= _LONGEST_NUMBER
    return (int(version), "") if number else (-1, version)
