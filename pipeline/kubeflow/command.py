"""What runs in a pod: its source goes into the compiled pipeline, so it stands alone and imports within."""


def run_node(node: str, data: str, root: str, run_id: str, job: str, settings: list, overrides: list) -> None:
    """Runs `clickrank node` with the Python of the image, and ends as it ends. The run is `run_id`, or if empty that of `job`."""
    import signal
    import subprocess
    import sys

    command = [sys.executable, "-m", "pipeline.cli", "node", node, data, "--root", root, "--verbose"]
    command += ["--run-id", run_id] if run_id else ["--job", job]
    for setting in [*settings, *overrides]:
        command += ["--set", setting]
    # The node ends in its own time, and we with it. It gets a signal once, also where the whole group of processes does: a second
    # one would end it at once.
    process = subprocess.Popen(command, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: process.send_signal(received))
    code = process.wait()
    if code:
        code = code if code > 0 else 128 - code
        # Kubeflow's launcher ends with 1 whatever we end with; newer ones show the end of the log. `follow.refused` looks for it.
        sys.stderr.write(f"clickrank node {node} ended with exit code {code}\n")
        sys.exit(code)
