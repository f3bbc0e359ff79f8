"""Cosine similarity of what two sides are about, with a confidence."""

import numpy as np
import pyarrow as pa
from scipy import sparse

from transforms.aspects import NO_DOCUMENT, DocumentAspects, explode
from transforms.wanted import with_confidence


def similarities(
    profiles: sparse.csr_matrix, profile_of: np.ndarray, document_row: np.ndarray, aspects: DocumentAspects
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compares profiles with documents, pair by pair.

    Both sides are weighted by idf: a profile's aspect x weighs idf(x) * profiles[., x], a document's idf(x) * confidence(x). The
    similarity is the cosine over all aspects: 0 exactly if none is common; missing if a side has no aspect or only zero weights.
    Its confidence is 1 - (p q)^k for k > 0 common aspects and p q for none, where p and q are the shares of all aspects that the
    two sides have.

    Args:
        profiles: (m, V), non-negative; stored entries are the aspects that a profile has. Has sorted indices.
        profile_of: (n,) the profile of each pair.
        document_row: (n,) the document of each pair, a row of `aspects.confidence` or `NO_DOCUMENT`.
        aspects: The documents.

    Returns:
        similarity (n,) float32, confidence (n,) float32, missing (n,) bool.
    """
    n, total = len(profile_of), len(aspects.ids)
    weight = aspects.idf**2
    pair, code, confidence = explode(aspects, document_row)
    # A pair's profile entry is found by binary search among all entries, keyed by profile and aspect: no row is copied.
    keys = np.repeat(np.arange(profiles.shape[0]), np.diff(profiles.indptr)) * total + profiles.indices
    wanted = profile_of[pair] * total + code
    at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    common = keys[at] == wanted if len(keys) else np.zeros(len(wanted), bool)
    product = np.where(common, profiles.data[at] * confidence * weight[code], 0.0) if len(keys) else np.zeros(len(wanted))
    dot = np.bincount(pair, product, minlength=n)
    shared = np.bincount(pair[common], minlength=n)

    profile_norm = np.sqrt(_row_sums(profiles, profiles.data**2 * weight[profiles.indices]))[profile_of]
    document_norm = np.sqrt(np.bincount(pair, confidence**2 * weight[code], minlength=n))
    norm = profile_norm * document_norm
    missing = ~(norm > 0.0) | (document_row == NO_DOCUMENT)
    similarity = np.where(missing, 0.0, dot / np.where(missing, 1.0, norm))

    share = np.diff(profiles.indptr)[profile_of] / max(total, 1) * (np.bincount(pair, minlength=n) / max(total, 1))
    certain = np.where(shared > 0, 1.0 - share**shared, share)
    return similarity.astype(np.float32), certain.astype(np.float32), missing


def similarity_columns(stem: str, value: np.ndarray, confidence: np.ndarray, missing: np.ndarray) -> dict[str, pa.Array]:
    """The three columns of a similarity."""
    arrays = (pa.array(values, mask=missing) for values in (value, confidence, value * confidence))
    return dict(zip(with_confidence(stem), arrays, strict=True))


def _row_sums(matrix: sparse.csr_matrix, values: np.ndarray) -> np.ndarray:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.bincount(rows, values, minlength=matrix.shape[0])
