"""Artifact types of ours, beside TFX's standard ones."""

from tfx.types.artifact import Artifact


class IngestReport(Artifact):
    """A folder with counts.json and rejects.csv: what reading the raw tables came to."""

    TYPE_NAME = "ClickrankIngestReport"


class AuditReport(Artifact):
    """A folder with audit.json: which features leak."""

    TYPE_NAME = "ClickrankAuditReport"
