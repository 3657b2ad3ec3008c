"""From events to the user-item matrix, and from histories to the rows it is asked with.

The one idea: what a user did often counts more, but less and less. Both the
matrix and the served graph see log2(1 + sum of event weights): once is 1, three
times is 2.
"""

import numpy as np
from scipy import sparse

from artifacts.engine import Scores
from artifacts.keys import KeyIndex
from models.cf.model import Floats
from models.data.interactions import EVENT_WEIGHTS, Interactions, Rows
from models.evaluate.ranking import Asking, batches, padded_history
from models.evaluate.task import Task

_DAY = 86_400.0


def user_item_matrix(
    found: Interactions, *, half_life_days: float, timed: bool
) -> sparse.csr_matrix:
    """Return X, float32 [U, n]: saturated, decayed event weights.

    An event loses half its weight in `half_life_days` before its own user's last
    event (0: never), so that users who stayed away teach as much as others.
    """
    weight = found.weight / np.float32(max(EVENT_WEIGHTS.values()))
    if timed and half_life_days > 0 and len(weight):
        last = found.time[found.starts[1:] - 1]
        age = (last[found.user] - found.time) / _DAY
        weight = weight * np.exp2(-age / half_life_days)
    shape = (len(found.user_ids), len(found.item_keys))
    matrix = sparse.csr_matrix((weight.astype(np.float32), (found.user, found.row - 1)), shape)
    matrix.sum_duplicates()
    matrix.data = saturated(matrix.data)
    return matrix


def saturated(total: Floats) -> Floats:
    """Return log2(1 + total)."""
    found: Floats = (np.log1p(total) / np.log(2)).astype(np.float32)
    return found


def recency(rows: Rows, exponent: float) -> Scores:
    """Return (how many present events from the end)^-exponent; rows [B, L], 0 pads."""
    present = rows != 0
    place = np.cumsum(present[:, ::-1], axis=1)[:, ::-1]
    found: Scores = np.where(present, np.maximum(place, 1.0) ** -exponent, 0).astype(np.float32)
    return found


def history_matrix(
    task: Task, index: KeyIndex, asking: Asking, *, recency_exponent: float
) -> sparse.csr_matrix:
    """Return what a task's users are asked with, as the graph sees it, float32 [V, n]."""
    users, rows, weights = [], [], []
    for batch in batches(task):
        keys, weight = padded_history(task, batch, asking)
        row = index.rows(keys)
        weight = weight * recency(row, recency_exponent)
        there = row != 0
        users.append(np.broadcast_to(batch[:, None], row.shape)[there])
        rows.append(row[there] - 1)
        weights.append(weight[there])
    shape = (len(task.user_ids), len(index))
    at = (np.concatenate(users), np.concatenate(rows))
    matrix = sparse.csr_matrix((np.concatenate(weights).astype(np.float32), at), shape)
    matrix.sum_duplicates()
    matrix.data = saturated(matrix.data)
    return matrix
