"""Gives a run the curated schema of schemas/schema.pbtxt."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Schema

SCHEMA_FILE = Path(__file__).parent.parent / "schemas" / "schema.pbtxt"


@component  # type: ignore[call-overload]
def CuratedSchema(digest: Parameter[str], schema: OutputArtifact[Schema]) -> None:  # type: ignore[type-arg]  # noqa: N802 (a component)
    """Copies the schema into the run. TFX's ImportSchemaGen would not notice a changed file: its cache knows only the path.

    Args:
        digest: Digest of the file; another one means the step is run again.
        schema: The copy.
    """
    target = Path(schema.uri)  # type: ignore[attr-defined]
    target.mkdir(parents=True, exist_ok=True)
    (target / "schema.pbtxt").write_text(SCHEMA_FILE.read_text())
