"""The models: their inputs, training, and export."""

import os

# tf_keras and TFT agree on Keras 2 only if this is set before TensorFlow is imported; importing anything from here may be what
# imports it first.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
