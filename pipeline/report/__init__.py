"""The report of a run: `gather` reads, `charts` and `page` draw, `write` puts it where it belongs."""
