"""What runs in a pod: its source goes into the compiled pipeline, so it stands alone and imports within."""


def run_node(node: str, data: str, root: str, run_id: str, job: str, settings: list, overrides: list) -> None:
    """Runs `clickrank node` with the Python of the image, and ends as it ends. The run is `run_id`, or if empty that of `job`."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "pipeline.cli", "node", node, data, "--root", root, "--verbose"]
    command += ["--run-id", run_id] if run_id else ["--job", job]
    for setting in [*settings, *overrides]:
        command += ["--set", setting]
    code = subprocess.run(command, check=False).returncode
    if code:
        code = code if code > 0 else 128 - code
        # Kubeflow's launcher ends with 1 whatever we end with; newer ones show the end of the log. `follow.refused` looks for it.
        sys.stderr.write(f"clickrank node {node} ended with exit code {code}\n")
        sys.exit(code)
