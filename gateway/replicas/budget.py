"""How much may be asked twice: a share of what is asked once.

Without it a source that is slow because it is overloaded would get twice the
load. Counted in rows, as a call of 32 rows costs a server more than one of 1.
(Dean and Barroso, The tail at scale, CACM 2013; the bucket is that of gRPC's
retry throttling, proposal A6.)
"""


class Budget:
    """A bucket of tokens; starts full, so that the first server to die is covered."""

    def __init__(self, share: float, most: float = 64.0) -> None:
        """`share` of a token is earned by each row; `most` may be saved up."""
        self._share = share
        self._most = most
        self._tokens = most if share else 0.0

    def earn(self, rows: int) -> None:
        """Note rows asked for the first time."""
        self._tokens = min(self._most, self._tokens + self._share * rows)

    def spend(self, rows: int) -> bool:
        """Take what asking rows again costs; False, and nothing taken, if it is not there."""
        if rows > self._tokens:
            return False
        self._tokens -= rows
        return True
