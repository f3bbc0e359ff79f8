"""How a model is judged: exact MAP@12 as a TFMA metric, the Evaluator's configuration, and reading its results."""
