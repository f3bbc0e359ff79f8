"""Makes the files of a SavedModel depend on the model alone, so that the same model exported twice is known to be the same.

TensorFlow ends the names of a model's functions in a count of all that the process has ever traced, and writes them in the order of
a hash of these names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

_GIVEN_NAME = "_user_specified_name"
_COUNTED = re.compile(r"(.+_)(\d+)")


def make_canonical(folder: str) -> None:
    """Numbers the functions of the SavedModel in `folder` from 1, in the order they were traced in, and sorts them by name.

    Its fingerprint is made anew; that still holds a UUID drawn at random.
    """
    path = f"{folder}/saved_model.pb"
    model = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(path, "rb") as file:
        model.ParseFromString(file.read())
    for graph in model.meta_graphs:
        functions = graph.graph_def.library.function
        for function in functions:
            _rename(function, _captured(function))
            for argument in function.arg_attr.values():
                if _GIVEN_NAME in argument.attr and argument.attr[_GIVEN_NAME].s.isdigit():  # nobody gave it: a count again
                    del argument.attr[_GIVEN_NAME]
        _rename(graph, renumbered(function.signature.name for function in functions))
        functions.sort(key=lambda function: function.signature.name)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(folder)


def renumbered(names: Iterable[str]) -> dict[str, str]:
    """Returns old name -> new name for all that end in `_` and a count; the order of the counts stays."""
    counted = sorted((int(match[2]), match[1], match[0]) for name in names if (match := _COUNTED.fullmatch(name)))
    return {name: f"{stem}{rank}" for rank, (_, stem, name) in enumerate(counted, 1)}


def _captured(function: Any) -> dict[str, str]:
    """New names of the arguments that are tensors from outside and named by a count.

    What only keeps the names of arguments apart is less than the number of them; a count is more: each of them was counted.
    """
    names = [argument.name for argument in function.signature.input_arg]
    counted = [name for name in names if (match := _COUNTED.fullmatch(name)) and int(match[2]) > len(names)]
    new = renumbered(counted)
    taken = {*names, *(node.name for node in function.node_def)}
    return {} if taken & set(new.values()) else new


def _rename(message: Message, new: Mapping[str, str]) -> None:
    """Puts the new name in the place of the old one, wherever a text, text as bytes or a key of a map is just that."""
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            _rename_map(value, field.message_type.fields_by_name["value"].message_type is not None, new)
        elif field.message_type:
            for inner in value if field.is_repeated else (value,):
                _rename(inner, new)
        elif field.type in (field.TYPE_STRING, field.TYPE_BYTES):
            if field.is_repeated:
                value[:] = [_renamed(one, new) for one in value]
            else:
                setattr(message, field.name, _renamed(value, new))


def _rename_map(entries: Any, of_messages: bool, new: Mapping[str, str]) -> None:
    for key in list(entries):
        name = new.get(key, key)
        if of_messages:
            _rename(entries[key], new)
            if name != key:
                entries[name].CopyFrom(entries[key])
        else:
            entries[name] = _renamed(entries[key], new)
        if name != key:
            del entries[key]


def _renamed(text: Any, new: Mapping[str, str]) -> Any:
    if isinstance(text, str):
        return new.get(text, text)
    if not isinstance(text, bytes):
        return text
    try:
        return new.get(text.decode(), "").encode() or text
    except UnicodeDecodeError:
        return text
