"""A real MariaDB server on this machine: the one that is installed, or Debian's packages unpacked into a folder of the project.

`python -m tests.mariadb` fetches and unpacks them, on Debian or Ubuntu and without being root.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

UNPACKED = Path(__file__).parents[1] / "build/mariadb"
DATABASES = ("mlmd", "other")
PASSWORD = 'a "peculiar" pass\\word'
_PACKAGES = ("mariadb-server-core", "mariadb-client-core")
_START_S = 120


@dataclass(frozen=True)
class Server:
    """A running server with an empty database `mlmd` of an account of that name."""

    host: str
    port: int

    def settings(self, database: str = "mlmd") -> tuple[str, ...]:
        """What to give to a command to use it; the password is in its environment."""
        values = {"store": "mysql", "host": self.host, "port": self.port, "database": database}
        return tuple(part for key, value in values.items() for part in ("--set", f"metadata.{key}={value}"))


def installation() -> Path | None:
    """The folder that has `sbin/mariadbd`; None if there is no server."""
    return next((folder for folder in (UNPACKED / "usr", Path("/usr")) if (folder / "sbin/mariadbd").exists()), None)


def fetch() -> None:
    """Unpacks Debian's server and what libraries it needs, unless there is one."""
    if installation():
        return
    if not shutil.which("apt-get"):
        sys.exit("No MariaDB here, and no apt-get to fetch one: install your system's mariadb-server.")
    listed = subprocess.run(["apt-cache", "depends", *_PACKAGES], capture_output=True, text=True, check=True).stdout
    needs = {line.split()[-1] for line in listed.splitlines() if line.strip().startswith("Depends: lib")}
    packages = sorted({*_PACKAGES, *needs} - {"libc6", "libelogind0"})
    UNPACKED.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED.parent) as aside:
        sys.stdout.write(f"Fetching {', '.join(packages)}\n")
        subprocess.run(["apt-get", "download", "--quiet", *packages], cwd=aside, check=True, stdout=subprocess.DEVNULL)
        for package in Path(aside).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, f"{aside}/unpacked"], check=True)
        os.rename(f"{aside}/unpacked", UNPACKED)


@contextmanager
def running(folder: Path, *options: str, port: int = 0) -> Iterator[Server]:
    """Runs a server with its data in `folder`, on a free port unless told; skips the test where there is none to run."""
    home, environment = installation(), _environment()
    if home is None:
        pytest.skip("no MariaDB here; `make mlmd-test` fetches one")
    data, log = folder / "data", folder / "mariadb.log"
    user = ["--user=root"] if os.geteuid() == 0 else []
    with log.open("ab") as out:
        if not data.exists():
            make = [home / "bin/mariadb-install-db", "--no-defaults", f"--basedir={home}", f"--datadir={data}", "--skip-test-db"]
            make += ["--auth-root-authentication-method=normal", *user]
            subprocess.run(make, env=environment, stdout=out, stderr=out, check=True)
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        made = [f"CREATE DATABASE IF NOT EXISTS {name};" for name in DATABASES]
        made += [f"GRANT ALL ON {name}.* TO 'mlmd'@'%' IDENTIFIED BY '{quoted}';" for name in DATABASES]
        (folder / "init.sql").write_text("\n".join([*made, ""]))  # a statement must be one line
        port = port or _free_port()
        command = [
            home / "sbin/mariadbd",
            "--no-defaults",
            f"--basedir={home}",
            f"--datadir={data}",
            f"--init-file={folder}/init.sql",
        ]
        command += [
            f"--port={port}",
            "--bind-address=127.0.0.1",
            f"--socket={folder}/socket",
            "--skip-name-resolve",
            *user,
            *options,
        ]
        server = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            _wait(server, port, log)
            yield Server("127.0.0.1", port)
        finally:
            server.terminate()
            server.wait(_START_S)


def client(server: Server, sql: str) -> str:
    """Returns what the server answers to statements of the account `mlmd`."""
    command = [f"{installation()}/bin/mariadb", "--no-defaults", "--skip-ssl", f"--host={server.host}", f"--port={server.port}"]
    environment = {**_environment(), "MYSQL_PWD": PASSWORD}
    done = subprocess.run(
        [*command, "--user=mlmd", f"--execute={sql}"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    libraries = [str(path) for path in UNPACKED.rglob("*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"MariaDB did not start:\n{log.read_text()[-3000:]}")


if __name__ == "__main__":
    fetch()
