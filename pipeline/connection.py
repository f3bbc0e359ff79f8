"""Where the metadata store of a root is, and how it is reached: a sqlite file in the root, or a MySQL database that the root notes.

A root keeps the store that it began with. Its database is its own, too: what killed runs left is tidied up at the next run, which
must not meet the runs of another root there. So the root has an id, which it notes beside the address, and in the database.
"""

import json
import os
import random
import socket
import time
import uuid
from dataclasses import dataclass

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2

from pipeline.paths import RootPaths
from pipeline.siblings import write_whole
from schemas.errors import ClickrankError, ConfigError, TransientError, recover
from schemas.metadata import MetadataConfig

_OWNER = "clickrank_root"
_TRIES = 5
_TIMEOUT_S = 10.0
_GREETING = slice(0, 5)  # three bytes of length, one of sequence, then 10 or, for an error, 255
_ERROR = 255


@dataclass(frozen=True)
class _Note:
    """What a root notes of its database."""

    root: str
    metadata: MetadataConfig


def settle(paths: RootPaths, config: MetadataConfig) -> mlmd.MetadataStore:
    """Makes the root's store that of the configuration, for good, and opens it. Only for who looks after the root.

    Raises:
        ConfigError: The root has another store, or the database is another root's.
        TransientError: The server cannot be reached.
    """
    note = _read(paths)
    if config.store == "sqlite":
        if note:
            raise _kept_elsewhere(paths, "metadata.store=mysql")
        return open_store(paths)
    if note is None and paths.metadata.exists():
        raise _kept_elsewhere(paths, "metadata.store=sqlite")
    store = _connect(config)
    owner = _owner(store)
    is_new = note is None
    if note is None:
        note = _Note(uuid.uuid4().hex, config)
    elif note.metadata != config and owner != note.root:  # unless it is the same one under another address
        raise _kept_elsewhere(paths, "metadata as it was")
    if owner in (None, note.root):
        write_whole(paths.store_note, json.dumps({"root": note.root, "metadata": config.model_dump()}, indent=1) + "\n")
        owner = owner or _claim(store, note.root)
    if owner != note.root:
        if is_new:  # another root claimed it in the same moment
            paths.store_note.unlink(missing_ok=True)
        raise ConfigError(f"{_name(config)} is the metadata store of another root than {paths.root}; give it a database of its own")
    return store


def connection_config(paths: RootPaths) -> metadata_store_pb2.ConnectionConfig:
    """Returns what MLMD needs to open the root's store; with the password, so it must not be printed."""
    note = _read(paths)
    if note:
        return _mysql(note.metadata)
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(paths.metadata)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


def exists(paths: RootPaths) -> bool:
    """Whether the root has a store; of a database, whether it has noted one."""
    return paths.metadata.exists() or paths.store_note.exists()


def where(paths: RootPaths) -> str:
    """The store's name for people."""
    note = _read(paths)
    return _name(note.metadata) if note else str(paths.metadata)


def open_store(paths: RootPaths, *, read_only: bool = False) -> mlmd.MetadataStore:
    """Opens the store; makes an empty one where there is none, unless it is a file and only to be read.

    Raises:
        ConfigError: The file is no metadata store; or the database, user or password is wrong.
        TransientError: The disk is full, or the server cannot be reached.
    """
    note = _read(paths)
    if note:
        return _connect(note.metadata)
    config = connection_config(paths)
    if read_only:
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        return mlmd.MetadataStore(config)
    except Exception as error:
        known = recover(error, str(paths.metadata))
        if known is not None:
            raise known from error
        raise ConfigError(
            f"{paths.metadata}: damaged, or no metadata store ({_first(error)}); restore it, or give another --root to start afresh"
        ) from error


def reach(config: MetadataConfig) -> str:
    """Opens a database, which makes MLMD's tables if they are not there; returns its name.

    Raises:
        ConfigError: The database, user or password is wrong.
        TransientError: The server cannot be reached.
    """
    _connect(config)
    return _name(config)


def _kept_elsewhere(paths: RootPaths, setting: str) -> ConfigError:
    return ConfigError(f"{paths.root} keeps its metadata in {where(paths)}; set {setting}, or give another --root")


def _read(paths: RootPaths) -> _Note | None:
    try:
        note = json.loads(paths.store_note.read_text())
        return _Note(note["root"], MetadataConfig.model_validate(note["metadata"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{paths.store_note}: damaged ({_first(error)}); it names the database of the root's metadata") from error


def _name(config: MetadataConfig) -> str:
    return f"{config.store}://{config.user}@{config.host}:{config.port}/{config.database}"


def _mysql(config: MetadataConfig) -> metadata_store_pb2.ConnectionConfig:
    return metadata_store_pb2.ConnectionConfig(
        mysql=metadata_store_pb2.MySQLDatabaseConfig(
            # To MySQL's clients, localhost is no address but a socket in the file system.
            host="127.0.0.1" if config.host == "localhost" else config.host,
            port=config.port,
            database=config.database,
            user=config.user,
            password=os.environ.get(config.password_variable, ""),
            skip_db_creation=True,  # an account of one database may not create any
            ssl_options=metadata_store_pb2.MySQLDatabaseConfig.SSLOptions(verify_server_cert=False) if config.tls else None,
        )
    )


def _connect(config: MetadataConfig) -> mlmd.MetadataStore:
    _knock(config)
    for left in reversed(range(_TRIES)):
        try:
            return mlmd.MetadataStore(_mysql(config))
        except Exception as error:
            if "mysql_real_connect" in str(error):  # MLMD says no more than this
                unset = "" if os.environ.get(config.password_variable) else " (not set)"
                raise ConfigError(
                    f"{_name(config)}: the server refuses the connection; check metadata.user, metadata.tls, the password in "
                    f"{config.password_variable}{unset}, and that the account's plugin is mysql_native_password"
                ) from error
            if "Changing to database" in str(error):
                raise ConfigError(f"{_name(config)}: {str(error).rpartition('error: ')[2]}") from error
            if not left:
                raise ClickrankError(f"{_name(config)}: {_first(error)}") from error
            # Two that open an empty database at once get in each other's way while they make its tables.
            time.sleep(random.uniform(0.1, 1.0))
    raise AssertionError("not reached")


def _knock(config: MetadataConfig) -> None:
    """Makes sure that a server is there: MLMD tells an absent one and a wrong password by the same words, the one after minutes.

    The first packet of a server: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
    """
    try:
        with socket.create_connection((config.host, config.port), _TIMEOUT_S) as connection:
            packet = connection.recv(512)
    except OSError as error:
        reason = error.strerror or "no answer" if not isinstance(error, TimeoutError) else f"no answer within {_TIMEOUT_S:.0f} s"
        raise TransientError(f"{_name(config)}: the metadata store's server cannot be reached: {reason}") from error
    if len(packet) < _GREETING.stop or packet[_GREETING][-1] == _ERROR:
        said = packet[7:].decode(errors="replace") or "it hung up"
        raise TransientError(f"{_name(config)}: the metadata store's server refuses: {said}")


def _owner(store: mlmd.MetadataStore) -> str | None:
    """The id of the root whose database this is: the first that claimed it."""
    claims = store.get_contexts_by_type(_OWNER)
    return min(claims, key=lambda claim: claim.id).name if claims else None


def _claim(store: mlmd.MetadataStore, root: str) -> str | None:
    kind = store.put_context_type(metadata_store_pb2.ContextType(name=_OWNER))
    store.put_contexts([metadata_store_pb2.Context(type_id=kind, name=root)])
    return _owner(store)


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:80]
