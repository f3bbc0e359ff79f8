"""Runs Beam's job service and our worker pool until Ctrl-C, and says which settings lead there: `make portable`."""

import argparse
import signal
import subprocess
import sys
from contextlib import suppress


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-port", type=int, default=8099, help="[default: 8099]")
    parser.add_argument("--pool-port", type=int, default=50_000, help="[default: 50000]")
    ports = parser.parse_args()
    commands = (
        ("apache_beam.runners.portability.local_job_service_main", "-p", ports.job_port),
        ("pipeline.cli", "worker-pool", "--port", ports.pool_port),
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers = [subprocess.Popen([sys.executable, "-m", *map(str, command)], start_new_session=True) for command in commands]
    sys.stdout.write(
        f"Job service on port {ports.job_port}, worker pool on port {ports.pool_port}; Ctrl-C ends both. In another shell:\n"
        f"  clickrank run DATA --root ROOT --set beam.runner=portable --set beam.job_endpoint=localhost:{ports.job_port} "
        f"--set beam.environment=localhost:{ports.pool_port}\n"
    )
    sys.stdout.flush()
    try:
        with suppress(KeyboardInterrupt):
            for server in servers:
                server.wait()
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


if __name__ == "__main__":
    main()
