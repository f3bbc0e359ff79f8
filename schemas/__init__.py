"""Contracts: raw tables, features, the data schema, the serving signature, configuration. Imports nothing of ours."""
