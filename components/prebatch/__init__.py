"""Transformed tf.Examples -> records of a few thousand rows as raw column bytes, which the Trainer reads at memory speed."""
