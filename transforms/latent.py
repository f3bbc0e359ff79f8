"""Latent directions of what documents are about: topics and categories that go together lie close, so that two documents can be
similar without one in common (latent semantic analysis, Deerwester et al., 1990)."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
from scipy import linalg, sparse

from transforms.aspects import DocumentAspects
from transforms.dimensions import IdIndex, load

DIMENSIONS = 24
MAX_ASPECTS = 500
"""Aspects of a kind that count: those of the most documents, ties by id. It bounds time and memory, which grow with its cube and
square; a log has a few hundred topics and a hundred categories."""

_TIE = 1e-6
"""Eigenvalues that differ by less than this share are one: which of their vectors comes first would be chance."""
_LEAST_LENGTH = 1e-6
"""A shorter vector is rounding error and has no direction."""
_STEP = 2.0**-24
"""Coordinates are multiples of it: single precision holds them, and sums in double precision are exact in any order."""


class DocumentVectors:
    """The direction of each document that has one.

    Attributes:
        coordinates: (k, D + 1) float32; column i is document i's, of length 1 but for rounding; the last, which -1 picks, is 0.
    """

    def __init__(self, documents: np.ndarray, coordinates: np.ndarray):
        self._index = IdIndex(documents)
        self.coordinates = coordinates

    def places_of(self, document_id: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Returns the column of each document, (n,) int64; -1 where it is null or has no direction."""
        return self._index.places(document_id)


def document_vectors(aspects: Sequence[DocumentAspects], dimensions: int = DIMENSIONS) -> pa.Table:
    """Computes the directions of all documents.

    A document's aspects of one kind weigh idf times confidence, scaled to length 1 together; X has all kinds side by side. Its
    vector is its row of X projected on the first eigenvectors of X'X, the right singular vectors of X, scaled to length 1. All
    eigenvectors count whose eigenvalue is that of number `dimensions`, should several share it. Nothing is sampled or iterated,
    and memory besides X is the number of aspects squared.

    Args:
        aspects: Kinds of aspect with a known idf.
        dimensions: How many eigenvectors.

    Returns:
        For `load_vectors`: `document_id`, ascending, those alone with a vector that is not 0; then one float32 column a dimension.
    """
    documents = np.unique(np.concatenate([kind.documents for kind in aspects]))
    weights = sparse.hstack([_unit_rows(kind, documents) for kind in aspects]).tocsr()
    values, vectors = linalg.eigh((weights.T @ weights).toarray())
    last = values[-dimensions:][:1]
    kept = values > max(values.max(initial=0.0) * _TIE, last.sum() * (1.0 - _TIE))
    projected = [weights @ vector for vector in vectors.T[kept]]
    length = np.sqrt(sum((coordinate**2 for coordinate in projected), start=np.zeros(len(documents))))
    known = length > _LEAST_LENGTH
    columns = {str(number): _rounded(coordinate[known] / length[known]) for number, coordinate in enumerate(projected)}
    return pa.table({"document_id": pa.array(documents[known]), **columns})


@lru_cache(maxsize=2)
def load_vectors(path: str) -> DocumentVectors:
    """Loads what `document_vectors` returned and `dimensions.save` wrote; once for all that use it in one process."""
    rows = load(path)
    coordinates = np.zeros((rows.num_columns - 1, rows.num_rows + 1), np.float32)
    for number, column in enumerate(rows.columns[1:]):
        coordinates[number, :-1] = column.to_numpy()
    return DocumentVectors(rows["document_id"].to_numpy(), coordinates)


def document_cosines(one: np.ndarray, other: np.ndarray, vectors: DocumentVectors) -> tuple[np.ndarray, np.ndarray]:
    """Compares documents pair by pair.

    Args:
        one, other: (n,) columns of `vectors.coordinates`, -1 for a document without direction.

    Returns:
        cosine (n,) float32, missing (n,) bool: where a side has no direction.
    """
    dot = np.zeros(len(one))
    for coordinate in vectors.coordinates:
        dot += coordinate[one].astype(np.float64) * coordinate[other]
    return dot.astype(np.float32), (one < 0) | (other < 0)


def profile_cosines(
    viewed: np.ndarray, start: np.ndarray, end: np.ndarray, profile_of: np.ndarray, document: np.ndarray, vectors: DocumentVectors
) -> tuple[np.ndarray, np.ndarray]:
    """Compares profiles, each the sum of the directions of documents viewed, with documents, pair by pair.

    Args:
        viewed: (v,) columns of `vectors.coordinates`, -1 for a document without direction.
        start, end: (m,) profile i is the sum over viewed[start[i]:end[i]].
        profile_of: (n,) the profile of each pair.
        document: (n,) the document of each pair, like `viewed`.

    Returns:
        cosine (n,) float32, missing (n,) bool: where a side has no direction.
    """
    squares, dot = np.zeros(len(start)), np.zeros(len(profile_of))
    for coordinate in vectors.coordinates:
        sums = np.concatenate([[0.0], np.cumsum(coordinate[viewed], dtype=np.float64)])
        profile = sums[end] - sums[start]
        squares += profile**2
        dot += profile[profile_of] * coordinate[document]
    length = np.sqrt(squares)[profile_of]
    missing = (length <= _LEAST_LENGTH) | (document < 0)
    return (dot / np.where(missing, 1.0, length)).astype(np.float32), missing


def _rounded(coordinate: np.ndarray) -> pa.Array:
    return pa.array((np.round(coordinate / _STEP) * _STEP).astype(np.float32))


def _unit_rows(aspects: DocumentAspects, documents: np.ndarray) -> sparse.csr_matrix:
    """The documents' idf times confidence, (documents, aspects), each row of length 1, or 0 where all of it weighs nothing."""
    weights = (aspects.confidence[aspects.rows_of(pa.array(documents))] @ sparse.diags(aspects.idf)).tocsc()
    if weights.shape[1] > MAX_ASPECTS:
        most_used = np.argsort(-np.diff(weights.indptr), kind="stable")[:MAX_ASPECTS]
        weights = weights[:, np.sort(most_used)]
    length = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    return sparse.diags(1.0 / np.where(length > 0.0, length, 1.0)) @ weights
