"""Letting a model out: one new version, atomically."""
