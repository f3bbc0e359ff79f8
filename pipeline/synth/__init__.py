"""Synthetic click logs in the format of the Outbrain competition, with a known best MAP@12.

From the bottom up: marginals, parameters, documents, aspects, world, displays, clicks, page_views, write, generator.
"""

from pipeline.synth.generator import generate

__all__ = ["generate"]
