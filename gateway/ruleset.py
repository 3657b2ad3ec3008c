"""The rules of a request, from the shop's words to rows and indices.

Ids and names that the catalogue does not know match nothing: excluding an
unknown item is done already, and allowing only an unknown category allows
nothing.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from artifacts.keys import item_key
from gateway.catalogue import Catalogue
from gateway.fusion.types import BoostRule, Rows, RuleSet
from gateway.history import History
from gateway.types import Boost, RuleSpec

_NO_ROWS: Rows = np.zeros(0, np.int32)


def resolve(spec: RuleSpec, catalogue: Catalogue, history: History) -> RuleSet:
    """Return the rules as the fusion reads them, for the catalogue's current snapshot."""
    exclude = _rows_of(spec.exclude, catalogue)
    if spec.include_unavailable:
        # What was deleted is gone for good, not merely unavailable.
        exclude = np.concatenate([exclude, catalogue.deleted_rows])
    purchased = _NO_ROWS
    if spec.exclude_purchased and len(history.purchased):
        purchased = _known(catalogue.rows(history.purchased))
    disliked = _known(catalogue.rows(history.disliked)) if len(history.disliked) else _NO_ROWS
    return RuleSet(
        exclude=exclude,
        purchased=purchased,
        disliked=disliked,
        pin=_rows_of(spec.pin, catalogue),
        bury=_rows_of(spec.bury, catalogue),
        include_unavailable=spec.include_unavailable,
        min_price=spec.min_price,
        max_price=spec.max_price,
        categories=_indices(spec.categories, catalogue.category),
        domains=_indices(spec.domains, catalogue.domain),
        brands=_indices(spec.brands, catalogue.brand),
        boosts=tuple(_boost(b, catalogue) for b in spec.boosts),
    )


def verdicts_unknown(item_ids: Iterable[str], spec: RuleSpec, history: History) -> dict[str, str]:
    """Return why items that the catalogue lacks must not be shown, each "" where it may.

    They have neither price nor kind, so no filter can be said to let one through.
    """
    filters = (
        ("price_unknown", spec.min_price is not None or spec.max_price is not None),
        ("category", spec.categories),
        ("domain", spec.domains),
        ("brand", spec.brands),
    )
    usual = next((reason for reason, set_ in filters if set_), "")
    # The first that is said last.
    by_key = dict.fromkeys(
        history.purchased.tolist() if spec.exclude_purchased else (), "purchased"
    )
    by_key |= dict.fromkeys(history.disliked.tolist(), "disliked")
    excluded = dict.fromkeys(spec.exclude, "excluded")
    return {i: excluded.get(i) or by_key.get(item_key(i), usual) for i in item_ids}


def _rows_of(item_ids: Sequence[str], catalogue: Catalogue) -> Rows:
    return _known(catalogue.rows_of(item_ids)) if item_ids else _NO_ROWS


def _known(rows: Rows) -> Rows:
    return rows[rows >= 0]


def _indices(names: Sequence[str], find: Callable[[str], int]) -> tuple[int, ...] | None:
    if not names:
        return None
    return tuple(index for index in map(find, names) if index >= 0)


def _boost(boost: Boost, catalogue: Catalogue) -> BoostRule:
    find = {
        "item": catalogue.row_of,
        "category": catalogue.category,
        "domain": catalogue.domain,
        "brand": catalogue.brand,
    }[boost.column]
    label = f"boost:{boost.column}={boost.value}"
    return BoostRule(boost.column, find(boost.value), boost.weight, label)
