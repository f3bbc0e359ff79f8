"""The schema that the ExampleValidator holds the examples to and that Transform parses them by, from the feature table.

`schemas/schema.pbtxt` is its committed rendering: `python -m schemas.data_schema > schemas/schema.pbtxt`.
"""

import sys

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas import features
from schemas.features import Feature, Key

TRAINING, SERVING = "TRAINING", "SERVING"

_TYPES = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}
_MOST_DAYS = 3650

_HEADER = """\
# proto-file: tensorflow_metadata/proto/v0/schema.proto
# proto-message: Schema
#
# Made from schemas/features.py by `python -m schemas.data_schema > schemas/schema.pbtxt`; do not edit by hand.
# Keys have exactly one value in every example. A feature has one value or none (a list as many as its hotness), and may be
# missing altogether: the table that it comes from is optional. The label is absent when only scores are wanted.

"""


def build_schema() -> schema_pb2.Schema:
    """Returns the schema of the examples that feature engineering writes: keys first, in the order of the feature table."""
    return schema_pb2.Schema(
        feature=[_key(key) for key in features.KEYS] + [_feature(feature) for feature in features.FEATURES],
        default_environment=[TRAINING, SERVING],
    )


def render() -> str:
    """Returns the text of schemas/schema.pbtxt."""
    return _HEADER + text_format.MessageToString(build_schema())


def _key(key: Key) -> schema_pb2.Feature:
    column = schema_pb2.Feature(name=key.name, annotation=_about(key.about), type=_TYPES[key.dtype])
    column.presence.min_fraction = 1.0
    column.presence.min_count = 1
    if key.optional:
        column.value_count.CopyFrom(schema_pb2.ValueCount(min=1, max=1))
        column.not_in_environment.append(SERVING)
    else:
        column.shape.SetInParent()  # no dimension: a scalar, parsed as FixedLen
    if key.name == "label":
        column.int_domain.CopyFrom(schema_pb2.IntDomain(min=0, max=1))
    elif key.dtype == "int64":
        column.int_domain.min = 1 if key.name == "ads_per_display" else 0
    elif key.dtype == "float32":
        column.float_domain.disallow_nan = True
    return column


def _feature(feature: Feature) -> schema_pb2.Feature:
    column = schema_pb2.Feature(name=feature.name, annotation=_about(feature.about), type=_TYPES[feature.dtype])
    column.value_count.CopyFrom(schema_pb2.ValueCount(min=1, max=feature.hotness))
    if feature.kind == "indicator":
        column.int_domain.CopyFrom(schema_pb2.IntDomain(min=0, max=feature.buckets - 1))
    elif feature.dtype == "int64":
        column.int_domain.min = 0
        if feature.name.endswith("_days_since_published"):
            column.int_domain.max = _MOST_DAYS
    elif feature.dtype == "float32":
        column.float_domain.CopyFrom(schema_pb2.FloatDomain(disallow_nan=True, disallow_inf=True))
        if feature.name in {group.feature for group in features.CTR_GROUPS}:
            column.float_domain.min, column.float_domain.max = 0.0, 1.0
    return column


def _about(text: str) -> schema_pb2.Annotation:
    return schema_pb2.Annotation(comment=[text])


if __name__ == "__main__":
    sys.stdout.write(render())
