"""What buying in one domain says about the next: a smoothed table of log-odds."""

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# An event is followed by this many others of the same user: about a shopping trip.
_REACH = 20
# Smoothing, in events: a domain with fewer says little beyond the prior.
_PRIOR_EVENTS = 100.0


def learn_domains(domain: Ints, user: Ints, size: int, *, ordered: bool) -> tuple[Floats, Floats]:
    """Return (log(P(t | r) / P(t)) at [r, t], P(t)), float32 [D, D] and [D], D = `size`.

    `domain` [E] and `user` [E] of the events, sorted by user and time. With an
    order within users, pairs are an event and each of the next 20; without one,
    any two events of a user, each user counting as many pairs as events.
    """
    prior = (np.bincount(domain, minlength=size) + 1.0) / (len(domain) + size)
    pairs = (_following if ordered else _together)(domain, user, size)
    given = pairs.sum(axis=1, keepdims=True)
    conditional = (pairs + _PRIOR_EVENTS * prior[None, :]) / (given + _PRIOR_EVENTS)
    return np.log(conditional / prior[None, :]).astype(np.float32), prior.astype(np.float32)


def _following(domain: Ints, user: Ints, size: int) -> Doubles:
    counts = np.zeros(size * size)
    for lag in range(1, _REACH + 1):
        same = user[lag:] == user[:-lag]
        cell = domain[:-lag][same] * size + domain[lag:][same]
        counts += np.bincount(cell, minlength=size * size)
    # Overlapping windows are not independent observations: count each event once.
    return counts.reshape(size, size) / _REACH


def _together(domain: Ints, user: Ints, size: int) -> Doubles:
    shape = (int(user.max(initial=0)) + 1, size)
    own = sparse.csr_matrix((np.ones(len(domain)), (user, domain)), shape=shape)
    share = 1 / np.maximum(np.asarray(own.sum(axis=1)).ravel() - 1, 1)
    scaled = sparse.csr_matrix((share[user], (user, domain)), shape=shape)
    pairs: Doubles = (own.T @ scaled).toarray()
    # An event is not its own companion.
    pairs[np.diag_indices(size)] -= np.bincount(domain, share[user], size)
    return np.maximum(pairs, 0)
