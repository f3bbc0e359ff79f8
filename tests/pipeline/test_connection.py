"""Where a root's metadata store is: a file, or a database of its own on a real MariaDB (`make mlmd-test` fetches one)."""

import json
import logging
import multiprocessing
import shutil
import socket
import subprocess
import threading
import time

import pytest
from pydantic import ValidationError
from tfx.orchestration.metadata import mysql_metadata_connection_config

from pipeline import connection
from pipeline.connection import connection_config, exists, open_store, settle, where
from pipeline.doctor import look_at_store
from pipeline.noise import log_to
from pipeline.paths import RootPaths
from schemas.errors import ConfigError, TransientError
from schemas.metadata import MetadataConfig
from tests.mariadb import PASSWORD, client, running

SQLITE = MetadataConfig()
VARIABLE = SQLITE.password_variable


@pytest.fixture
def paths(tmp_path):
    return new_root(tmp_path / "root")


def new_root(folder):
    folder.mkdir()
    return RootPaths(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv(VARIABLE, PASSWORD)


@pytest.fixture
def mysql(server, password):
    """The configuration of an empty database."""
    config = at(server)
    empty(config)
    return config


def at(server, **changes):
    return MetadataConfig(**({"store": "mysql", "host": server.host, "port": server.port} | changes))


def empty(config):
    """Takes every table out of a database, by the client that comes with the server."""
    client(config, f"DROP DATABASE IF EXISTS {config.database}; CREATE DATABASE {config.database};")


def test_a_root_is_its_own_store_unless_told_otherwise(paths):
    assert not exists(paths)
    settle(paths, SQLITE)
    open_store(paths)
    assert [file.name for file in paths.root.iterdir()] == ["metadata.sqlite"]
    assert exists(paths)
    assert where(paths) == str(paths.metadata)
    assert connection_config(paths).sqlite.filename_uri == str(paths.metadata)


@pytest.mark.parametrize("keys", [{"store": "mysql"}, {"host": "db"}, {"store": "mysql", "host": ""}])
def test_a_server_needs_a_host_and_a_file_has_none(keys):
    with pytest.raises(ValidationError, match="host"):
        MetadataConfig(**keys)


def test_a_root_with_a_file_does_not_change_to_a_server(paths):
    open_store(paths)
    with pytest.raises(ConfigError, match=r"keeps its metadata in .*metadata\.sqlite; set metadata\.store=sqlite"):
        settle(paths, MetadataConfig(store="mysql", host="db"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"root": "1"}', '{"root": "1", "metadata": {"store": "mysql"}}'])
def test_a_damaged_note_is_named(paths, text):
    paths.store_note.write_text(text)
    with pytest.raises(ConfigError, match=r"metadata\.json: damaged \(.*\); it names the database"):
        open_store(paths)


def test_a_server_that_is_not_there_is_a_reason_to_try_again(paths):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        config = MetadataConfig(store="mysql", host="127.0.0.1", port=free.getsockname()[1])
        with pytest.raises(TransientError, match=r"mysql://mlmd@127\.0\.0\.1:\d+/mlmd: .* cannot be reached: Connection refused"):
            settle(paths, config)
    with pytest.raises(TransientError, match=r"db\.invalid:3306/mlmd: .* cannot be reached: "):
        settle(paths, MetadataConfig(store="mysql", host="db.invalid"))
    assert not exists(paths)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"\x17\0\0\0\xff\x10\x04Too many connections", "the metadata store's server refuses: Too many connections"),
        (b"", "the metadata store's server refuses: it hung up"),
        (None, r"cannot be reached: no answer within 0 s"),
    ],
    ids=["says why", "hangs up", "says nothing"],
)
def test_a_server_that_does_not_want_us_is_a_reason_to_try_again(paths, monkeypatch, answer, message):
    monkeypatch.setattr(connection, "_TIMEOUT_S", 0.3)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(answer) if answer is not None else done.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(TransientError, match=message):
            settle(paths, MetadataConfig(store="mysql", host="127.0.0.1", port=listener.getsockname()[1]))
        done.set()
        thread.join()


@pytest.mark.parametrize("password", ["plain", PASSWORD, 'ends in "', "\\", "line\nbreak"])
@pytest.mark.parametrize("verbose", [True, False])
def test_what_tfx_logs_of_a_connection_has_no_password(tmp_path, caplog, password, verbose):
    config = mysql_metadata_connection_config("db", 3306, "mlmd", "mlmd", password)
    caplog.set_level(logging.INFO)
    with log_to(tmp_path / "log.txt", verbose):
        logging.getLogger("clickrank.test").info("Using connection config:\n %s", config)
    assert 'password: "***"\n' in caplog.text
    assert str(config).split("password: ")[1].split("\n")[0] not in caplog.text


def test_the_doctor_looks_at_a_server_and_at_no_file():
    assert look_at_store(SQLITE) == []
    (check,) = look_at_store(MetadataConfig(store="mysql", host="db.invalid"))
    assert not check.passed
    assert "cannot be reached" in check.found


def test_the_doctor_finds_a_server_well(mysql):
    assert look_at_store(mysql) == [("metadata store", True, f"mysql://mlmd@127.0.0.1:{mysql.port}/mlmd")]


def test_a_root_notes_its_database_and_not_the_password(paths, mysql):
    settle(paths, mysql)
    assert json.loads(paths.store_note.read_text())["metadata"] == mysql.model_dump()
    assert PASSWORD not in paths.store_note.read_text()
    assert where(paths) == f"mysql://mlmd@127.0.0.1:{mysql.port}/mlmd"
    assert connection_config(paths).mysql.password == PASSWORD
    open_store(paths, read_only=True)
    before = paths.store_note.read_text()
    settle(paths, mysql)
    assert paths.store_note.read_text() == before


def test_a_database_belongs_to_one_root(paths, mysql, tmp_path):
    settle(paths, mysql)
    second = new_root(tmp_path / "second")
    with pytest.raises(ConfigError, match=r"/mlmd is the metadata store of another root than .*/second; give it a"):
        settle(second, mysql)
    assert not exists(second)
    settle(second, at(mysql, database="other"))


def test_of_two_roots_that_claim_a_database_at_once_the_second_is_free_to_take_another(paths, monkeypatch):
    monkeypatch.setattr(connection, "_connect", lambda config: None)
    monkeypatch.setattr(connection, "_owner", lambda store: None)
    monkeypatch.setattr(connection, "_claim", lambda store, root: "that of the first")
    config = MetadataConfig(store="mysql", host="db")
    with pytest.raises(ConfigError, match="of another root than"):
        settle(paths, config)
    assert not exists(paths)
    monkeypatch.setattr(connection, "_claim", lambda store, root: root)
    settle(paths, config.model_copy(update={"database": "other"}))
    assert where(paths).endswith("/other")


def test_a_root_stays_with_its_database(paths, mysql):
    settle(paths, mysql)
    with pytest.raises(ConfigError, match=r"keeps its metadata in mysql://.*/mlmd; set metadata\.store=mysql"):
        settle(paths, SQLITE)
    other = at(mysql, database="other")
    empty(other)
    with pytest.raises(ConfigError, match=r"keeps its metadata in mysql://.*/mlmd; set metadata as it was"):
        settle(paths, other)


def test_the_same_database_may_have_another_address(paths, mysql):
    settle(paths, mysql)
    settle(paths, at(mysql, host="localhost"))
    assert where(paths) == f"mysql://mlmd@localhost:{mysql.port}/mlmd"
    open_store(paths)


def test_a_claim_that_was_cut_short_is_made_good(paths, mysql, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_claim", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            settle(paths, mysql)
    noted = paths.store_note.read_text()
    settle(paths, mysql)
    assert paths.store_note.read_text() == noted
    assert [context.name for context in open_store(paths).get_contexts()] == [json.loads(noted)["root"]]


def test_what_is_wrong_with_the_account_is_said(paths, mysql, monkeypatch):
    with pytest.raises(ConfigError, match=r"Access denied for user 'mlmd'@'%' to database 'third'"):
        settle(paths, at(mysql, database="third"))
    for value, unset in (("wrong", ""), (None, r" \(not set\)")):
        monkeypatch.setenv(VARIABLE, value) if value else monkeypatch.delenv(VARIABLE)
        with pytest.raises(
            ConfigError, match=rf"refuses the connection; check metadata\.user, .* the password in {VARIABLE}{unset}, and"
        ):
            settle(paths, mysql)
    assert not exists(paths)


def _open(config):
    connection._connect(MetadataConfig.model_validate(config)).get_executions()


def test_processes_that_open_an_empty_database_at_once_all_get_in(mysql):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.map(_open, [mysql.model_dump()] * 8, chunksize=1)


def test_what_is_in_the_store_outlives_a_restart_of_its_server(tmp_path, paths, password):
    with running(tmp_path) as server:
        settle(paths, at(server))
        before = open_store(paths).get_contexts()
    with pytest.raises(TransientError, match="cannot be reached"):
        open_store(paths)
    with running(tmp_path, port=server.port):
        assert open_store(paths).get_contexts() == before


def test_a_connection_that_was_idle_for_too_long_is_made_again(tmp_path, paths, password):
    with running(tmp_path, "--wait-timeout=1") as server:
        settle(paths, at(server))
        store = open_store(paths)
        before = store.get_contexts()
        time.sleep(2.5)
        assert store.get_contexts() == before


@pytest.mark.skipif(not shutil.which("openssl"), reason="a certificate needs openssl")
def test_a_server_that_wants_an_encrypted_connection_gets_one(tmp_path, paths, password):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mlmd", "-keyout", key, "-out", certificate]
    subprocess.run(make, check=True, capture_output=True)
    with running(tmp_path, f"--ssl-key={key}", f"--ssl-cert={certificate}", "--require-secure-transport=ON") as server:
        with pytest.raises(ConfigError, match=r"refuses the connection; check metadata\.user, metadata\.tls"):
            settle(paths, at(server))
        settle(paths, at(server, tls=True))
