"""The gate: whether a model may go out."""
