"""Feature engineering: pure functions on Arrow tables, composed into Beam PTransforms. Never imports tfx."""
