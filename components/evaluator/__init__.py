"""How a model is judged: metrics, slices, baselines, one row for each display; within TFMA's pipeline and in TFMA's files."""
