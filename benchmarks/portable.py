"""Runs Beam's job service and an external worker pool until Ctrl-C, and says which flags lead there: `make portable`."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job-port", type=int, default=8099, help="[default: 8099]")
    parser.add_argument("--pool-port", type=int, default=50_000, help="[default: 50000]")
    ports = parser.parse_args()
    # The pool starts its workers as `python`: this one must be found first.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    modules = (
        ("apache_beam.runners.portability.local_job_service_main", "-p", ports.job_port),
        ("apache_beam.runners.worker.worker_pool_main", "--service_port", ports.pool_port),
    )
    servers = [
        subprocess.Popen([sys.executable, "-m", module, option, str(port)], env=environment, start_new_session=True)
        for module, option, port in modules
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.write(
        f"Job service on port {ports.job_port}, worker pool on port {ports.pool_port}; Ctrl-C ends both. In another shell, with "
        f"{Path(sys.executable).parent} first on PATH:\n"
        f"  python -m benchmarks.feature_rows DATA OUT --runner=PortableRunner --job_endpoint=localhost:{ports.job_port} "
        f"--environment_type=EXTERNAL --environment_config=localhost:{ports.pool_port}\n"
    )
    sys.stdout.flush()
    try:
        servers[0].wait()
        servers[1].wait()
    except KeyboardInterrupt:
        pass
    finally:
        for server in servers:
            os.killpg(server.pid, signal.SIGKILL)  # with the workers it started: its own way out leaves some behind


if __name__ == "__main__":
    main()
