"""What a gate tells the metrics, with the children of each label looked up once."""

from services.runtime import metrics

REASONS = ("full", "no_time", "expired", "cancelled")


class Notes:
    """The metrics of one gate; `lane` names it, `kinds` what it admits."""

    def __init__(self, lane: str, kinds: tuple[str, ...]) -> None:
        self._limit = metrics.ADMISSION_LIMIT.labels(lane)
        self._admitted = {k: metrics.ADMITTED.labels(k) for k in kinds}
        self._waited = {k: metrics.ADMISSION_WAIT.labels(k) for k in kinds}
        self._refused = {(k, r): metrics.REFUSED.labels(k, r) for k in kinds for r in REASONS}

    def limit(self, value: int) -> None:
        """Note where the limit stands."""
        self._limit.set(value)

    def admitted(self, kind: str, waited: float) -> None:
        """Note a call that went in, and the seconds it waited."""
        self._admitted[kind].inc()
        self._waited[kind].observe(waited)

    def refused(self, kind: str, reason: str) -> None:
        """Note a call that did not go in."""
        self._refused[kind, reason].inc()
