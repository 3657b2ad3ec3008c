"""What is compiled does what plain numpy says, on whatever arrays come."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from artifacts.formulas import Floats, Rows, calibrate, domain_log_ratio, session_affinity
from gateway.fusion.pool import _placed, _unite

scores = st.floats(-100, 100, width=32)
seeds = st.integers(0, 2**16)


@given(st.lists(st.one_of(scores, st.just(float("nan"))), max_size=12), st.lists(scores))
def test_half_of_a_calibrated_score_is_its_place_and_half_its_quantile(
    answered: list[float], known: list[float]
) -> None:
    values = np.unique(np.array(known, np.float32))
    chances = np.linspace(0, 1, len(values), dtype=np.float32)
    row = np.array([answered], np.float32)
    (found,) = calibrate(row, [(chances, values) if len(values) else None])
    for score, made in zip(row[0], found, strict=True):
        assert np.isnan(score) == np.isnan(made)
        if np.isnan(score):
            continue
        low, high = np.nanmin(row), np.nanmax(row)
        flat = not high > low
        within = 0.0 if flat else (score - low) / (high - low)
        level = np.interp(score, values, chances) if len(values) else within
        expected = (level if len(values) else 0.5) if flat else (within + level) / 2
        np.testing.assert_allclose(made, expected, atol=1e-5)


@given(seeds, st.integers(1, 6), st.integers(0, 9))
def test_the_log_ratio_mixes_the_rows_of_the_recent_domains(
    seed: int, domains: int, length: int
) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 2, (domains, domains)).astype(np.float32)
    recent = rng.integers(0, domains, length + 1)
    weight = rng.uniform(0.1, 1, length + 1).astype(np.float32)
    share = np.bincount(recent, weight, domains)
    mixed = np.log((share / share.sum()) @ np.exp(table.astype(np.float64)))
    faded = mixed / (1 + np.bincount(recent, minlength=domains) / 5.0)
    found = domain_log_ratio(recent, weight, table, 5.0)
    np.testing.assert_allclose(found, np.clip(faded, -3, 3), atol=1e-4)


@given(seeds, st.integers(1, 5), st.integers(0, 8))
def test_affinity_is_the_mean_cosine_and_the_share_of_the_category(
    seed: int, length: int, size: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(20, 7)).astype(np.float32)
    category = rng.integers(-1, 4, 20).astype(np.int32)
    session, asked = (rng.integers(0, 20, n).astype(np.int32) for n in (length, size))
    weight = rng.uniform(-1, 1, length).astype(np.float32)
    share = weight / np.abs(weight).sum()
    cosine = vectors[asked] @ (share @ vectors[session])
    same = (category[asked][:, None] == category[session]) & (category[asked][:, None] >= 0)
    found = session_affinity(weight, (vectors, category), session, asked)
    np.testing.assert_allclose(found, 0.7 * cosine + 0.3 * (same @ share), atol=1e-4)


def lists(rng: np.random.Generator) -> tuple[list[Rows], list[Floats]]:
    named = [rng.integers(-1, 14, rng.integers(0, 9)).astype(np.int32) for _ in range(3)]
    given_scores = [rng.normal(size=len(n)).astype(np.float32) for n in named]
    for values in given_scores:
        values[rng.random(len(values)) < 0.2] = np.nan
    return named, given_scores


@given(seeds)
def test_the_pool_is_the_union_of_the_lists_with_the_best_of_each_source(seed: int) -> None:
    rng = np.random.default_rng(seed)
    named, values = lists(rng)
    added = rng.integers(-1, 14, 4).astype(np.int32)
    every = np.concatenate([*named, added])
    ends = np.cumsum([len(n) for n in named])
    rows, table = _unite(
        np.sort(_placed(every)), np.concatenate(values), ends, np.array([2, 0, 1]), 12, 4
    )
    assert rows.tolist() == sorted({r for r in every.tolist() if 0 <= r < 12})
    assert table.shape == (4, len(rows))
    assert np.isnan(table[3]).all()
    for source, listed, theirs in zip((2, 0, 1), named, values, strict=True):
        for at, row in enumerate(rows):
            mine = theirs[(listed == row) & ~np.isnan(theirs)]
            best = mine.max() if len(mine) else np.float32(np.nan)
            np.testing.assert_equal(table[source, at], best)
