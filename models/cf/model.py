"""EASE: item-item weights by ridge regression, in closed form (Steck, WWW 2019).

Every item is predicted from all others by one linear regression:

    B = argmin ||X - XB||^2 + lambda ||B||^2  with  diag(B) = 0
      = I - P / diag(P)   (columns divided),  P = (X'X + lambda I)^-1

The one idea here: with fewer users than items, the n x n inverse is never made.
By Woodbury's identity P = (I - X'(XX' + lambda I)^-1 X) / lambda, and with the
eigenvectors Q of XX' and Z = Q'X that is (I - Z' diag(1 / (e + lambda)) Z) / lambda:
one factorisation serves every lambda, and rows of B come in blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse

from models.data.errors import OptionError

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]


class SingularError(OptionError):
    """The regression has no solution; lambda is too small for the data."""


class Inverse(Protocol):
    """P = (X'X + lambda I)^-1, symmetric, n x n, however it is kept."""

    diagonal: Floats  # [n]

    def rows(self, start: int, stop: int) -> Floats:
        """Return rows start .. stop of P, float32 [stop - start, n]."""
        ...

    def times(self, histories: sparse.csr_matrix) -> Floats:
        """Return histories @ P, float32 [V, n]."""
        ...


class PrimalInverse:
    """P itself, one float32 n x n array: 5 GB and minutes for 35,000 items."""

    def __init__(self, x: sparse.csr_matrix, regularisation: float) -> None:
        """Invert; x is [U, n]. Raises SingularError."""
        gram = _gram(x)
        gram[np.diag_indices_from(gram)] += np.float32(regularisation)
        # Fortran order lets both steps work in place; either copy would be as large again.
        gram, failed = linalg.lapack.spotrf(gram, lower=0, clean=0, overwrite_a=1)
        if not failed:
            gram, failed = linalg.lapack.spotri(gram, lower=0, overwrite_c=1)
        if failed:
            raise SingularError(
                f"cf: X'X + {regularisation:g} I is not positive definite; "
                "raise the smallest of regularisations"
            )
        self._upper = gram
        _mirror(gram)
        self.diagonal: Floats = gram.diagonal().copy()

    def rows(self, start: int, stop: int) -> Floats:
        """Return rows of P; see Inverse."""
        # P is symmetric, and columns are what lies together.
        found: Floats = self._upper[:, start:stop].T
        return found

    def times(self, histories: sparse.csr_matrix) -> Floats:
        """Return histories @ P; see Inverse."""
        found: Floats = np.asarray(histories @ self._upper.T, np.float32)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class DualFactors:
    """XX' = Q diag(e) Q' and Z = Q'X: what all lambdas share."""

    x: sparse.csr_matrix  # [U, n]
    vectors: Floats  # Q [U, U]
    values: Floats  # e [U]
    z: Floats  # [U, n]


def dual_factors(x: sparse.csr_matrix) -> DualFactors:
    """Factorise XX'; x is [U, n], best with U < n."""
    dense = x.toarray()
    kernel = dense @ dense.T
    values, vectors = linalg.eigh(kernel, overwrite_a=True, check_finite=False, driver="evd")
    # XX' has no negative eigenvalue but by rounding.
    return DualFactors(x, vectors, np.maximum(values, 0).astype(np.float32), vectors.T @ dense)


class DualInverse:
    """P from DualFactors, made row by row when asked for."""

    def __init__(self, factors: DualFactors, regularisation: float) -> None:
        self._factors = factors
        self._lambda = np.float32(regularisation)
        self._shrink: Floats = (1 / (factors.values + self._lambda)).astype(np.float32)  # [U]
        fitted = self._shrink @ np.square(factors.z)
        self.diagonal: Floats = ((1 - fitted) / self._lambda).astype(np.float32)

    def rows(self, start: int, stop: int) -> Floats:
        """Return rows of P; see Inverse."""
        z = self._factors.z
        found: Floats = np.matmul(-(z[:, start:stop].T * self._shrink), z)  # [b, U] @ [U, n]
        found[np.arange(stop - start), np.arange(start, stop)] += 1
        found /= self._lambda
        return found

    def times(self, histories: sparse.csr_matrix) -> Floats:
        """Return histories @ P; see Inverse."""
        # [V, n] @ [n, U]: what each history has in common with each eigenvector
        common = np.asarray((histories @ self._factors.x.T) @ self._factors.vectors)
        found = histories.toarray() - (common * self._shrink) @ self._factors.z
        return cast(Floats, (found / self._lambda).astype(np.float32, copy=False))


def invert(x: sparse.csr_matrix, regularisation: float) -> Inverse:
    """Return (X'X + lambda I)^-1 by the cheaper of the two ways; x is [U, n]."""
    return inverter(x)(regularisation)


def inverter(x: sparse.csr_matrix) -> Callable[[float], Inverse]:
    """Return what inverts for one lambda after another."""
    if x.shape[0] >= x.shape[1]:
        return lambda regularisation: PrimalInverse(x, regularisation)
    factors = dual_factors(x)
    return lambda regularisation: DualInverse(factors, regularisation)


def predictions(inverse: Inverse, histories: sparse.csr_matrix) -> Floats:
    """Return histories @ B without making B, float32 [V, n]."""
    found = histories.toarray() - inverse.times(histories) / inverse.diagonal
    return cast(Floats, found.astype(np.float32, copy=False))


def weight_rows(inverse: Inverse, start: int, stop: int) -> Floats:
    """Return rows start .. stop of B (what each item says about all), float32 [b, n]."""
    found: Floats = inverse.rows(start, stop) / -inverse.diagonal
    found[np.arange(stop - start), np.arange(start, stop)] = 0
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The strongest weights of each item: item i says values[i] about items[i]."""

    items: Indices  # int32 [n, K], 0 .. n - 1
    values: Floats  # float32 [n, K]; 0 where an item has fewer


def neighbours(inverse: Inverse, scale: Floats, *, keep: int, block: int = 1024) -> Neighbours:
    """Return the `keep` weights of greatest magnitude in each row of B, times `scale`.

    `scale` [n] multiplies what is said about each item; it comes after the choice,
    as it would let rare items, whose weights are the noisiest, crowd out the rest.
    Memory: one block of rows.
    """
    n = len(scale)
    keep = min(keep, n)
    items, values = np.zeros((n, keep), np.int32), np.zeros((n, keep), np.float32)
    for start in range(0, n, block):
        stop = min(start + block, n)
        weights = weight_rows(inverse, start, stop)
        best = np.argpartition(-np.abs(weights), keep - 1, axis=1)[:, :keep]
        items[start:stop] = best
        values[start:stop] = np.take_along_axis(weights, best, axis=1) * scale[best]
    return Neighbours(items, values)


def _gram(x: sparse.csr_matrix, block: int = 2048) -> Floats:
    """Return X'X, float32 [n, n] in Fortran order, made by columns."""
    n = x.shape[1]
    gram = np.empty((n, n), np.float32, order="F")
    transposed, columns = x.T.tocsr(), x.tocsc()
    for start in range(0, n, block):
        part = transposed @ columns[:, start : start + block]
        gram[:, start : start + block] = part.toarray()
    return gram


def _mirror(upper: Floats, block: int = 2048) -> None:
    """Copy the upper triangle into the lower, in place."""
    n = len(upper)
    for start in range(0, n, block):
        stop = min(start + block, n)
        upper[stop:, start:stop] = upper[start:stop, stop:].T
        square = upper[start:stop, start:stop]
        square[:] = np.triu(square) + np.triu(square, 1).T
