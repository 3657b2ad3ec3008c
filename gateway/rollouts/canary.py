"""Who is in a canary: a stable share of the shoppers, another one for each rollout.

A shopper's place is a hash of the rollout's salt and their id, so it needs no
memory, is the same on every request and every gateway, and is drawn anew with
each rollout: the same few shoppers must not meet every new model. A larger share
keeps those who were in, as places below the smaller one are below the larger too.
"""

from dataclasses import dataclass
from hashlib import blake2b

_EVERYBODY = 100.0


@dataclass(frozen=True, slots=True)
class Canary:
    """One version of a source that answers a share of the shoppers."""

    source: str
    version: str
    share: float  # percent, above 0 to 100
    salt: str
    created_ms: int

    def takes(self, user_id: str) -> bool:
        """Say whether a shopper is in.

        Nobody can be told from one request of an anonymous shopper to the next, so
        they would see models change under them: they are in once everybody is.
        """
        if self.share >= _EVERYBODY or not user_id:
            return self.share >= _EVERYBODY
        return place(self.salt, user_id) < self.share


def place(salt: str, user_id: str) -> float:
    """Return a shopper's place in a rollout, spread evenly over 0 .. 100."""
    digest = blake2b(user_id.encode(), digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64 * 100
