"""What documents are about: their categories, topics and entities, each with a confidence, in the form that arithmetic needs."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from transforms.dimensions import IdIndex, load

NO_DOCUMENT = -1


class DocumentAspects:
    """One kind of aspect of all documents.

    Attributes:
        documents: (D,) the documents' ids, ascending.
        ids: The V distinct aspect ids, ascending; an aspect's code is its place here.
        idf: (V,) float64, ln(N / df): N documents in the log, df of which have the aspect.
        confidence: (D + 1, V) CSR matrix, float64; row i is document i, the last row, which -1 picks, is empty.
    """

    def __init__(self, documents: np.ndarray, ids: pa.Array, confidence: sparse.csr_matrix, total_documents: int):
        self._index = IdIndex(documents)
        self.documents = documents
        self.ids = ids
        self.confidence = confidence
        df = np.bincount(confidence.indices, minlength=len(ids))
        self.idf = np.log(total_documents / np.maximum(df, 1)) if total_documents else np.full(len(ids), np.nan)

    def rows_of(self, document_id: pa.Array) -> np.ndarray:
        """Returns the matrix row of each document, (n,) int64; `NO_DOCUMENT` where it is null or has no aspect."""
        return self._index.places(document_id)

    def top(self, document_id: pa.Array, count: int) -> pa.ListArray:
        """Returns the ids of each document's `count` aspects of highest confidence, ties by id; null where it has none."""
        rows = self.rows_of(document_id)
        present, inverse = np.unique(rows, return_inverse=True)
        row, code, confidence = _entries(self.confidence, present)
        order = np.lexsort([code, -confidence, row])
        row, code = row[order], code[order]
        first = np.searchsorted(row, np.arange(len(present)))
        keep = np.arange(len(row)) - first[row] < count
        code = code[keep]
        lengths = np.bincount(row[keep], minlength=len(present))
        starts = np.cumsum(lengths) - lengths
        _, at = ranges(starts[inverse], lengths[inverse])
        offsets = np.concatenate([[0], np.cumsum(lengths[inverse])]).astype(np.int32)
        empty = np.concatenate([rows == NO_DOCUMENT, [False]])  # a null offset makes a null list
        return pa.ListArray.from_arrays(pa.array(offsets, mask=empty), self.ids.take(pa.array(code[at])))


def explode(aspects: DocumentAspects, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists the aspects of documents one by one.

    Args:
        rows: (n,) matrix rows, `NO_DOCUMENT` for none.

    Returns:
        place in `rows`, code, confidence: (m,) each, by place, then code.
    """
    return _entries(aspects.confidence, rows)


@lru_cache(maxsize=8)
def load_aspects(path: str, total_documents: int) -> DocumentAspects:
    """Loads a documents_* table without repeated rows, as `dimensions.save` wrote it; once for all that use it in one process.

    Args:
        path: The file. The columns are document_id, the aspect's id, confidence_level.
        total_documents: N, the number of documents in the log; 0 if unknown, then similarities are missing.
    """
    rows = load(path)
    ids = rows[1].combine_chunks() if rows.num_rows else pa.array([], rows.schema.field(1).type)
    distinct = pc.unique(ids)
    distinct = distinct.take(pc.array_sort_indices(distinct))
    code = pc.index_in(ids, distinct).to_numpy(zero_copy_only=False).astype(np.int32)
    documents, row = np.unique(rows["document_id"].to_numpy(), return_inverse=True)
    confidence = sparse.csr_matrix(
        (rows["confidence_level"].to_numpy().astype(np.float64), (row, code)), shape=(len(documents) + 1, len(distinct))
    )
    confidence.sort_indices()
    return DocumentAspects(documents, distinct, confidence, total_documents)


def _entries(matrix: sparse.csr_matrix, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.where(rows < 0, matrix.shape[0] - 1, rows)
    starts = matrix.indptr[rows]
    place, at = ranges(starts, matrix.indptr[rows + 1] - starts)
    return place, matrix.indices[at], matrix.data[at]


def ranges(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Concatenates ranges: returns the number of the range and the value, for every value of starts[i] .. + lengths[i]."""
    place = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    return place, np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)
