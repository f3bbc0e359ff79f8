"""Whether features know more about train rows than about eval rows: the leak audit as a node of the pipeline."""
