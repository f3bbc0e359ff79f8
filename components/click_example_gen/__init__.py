"""A Beam ExampleGen over the raw tables of a click log."""
