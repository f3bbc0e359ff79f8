"""The commands of `pipeline/cli.py`, by what they are about. Nothing heavy is imported but within a command."""
