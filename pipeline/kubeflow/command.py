"""What runs in a pod: its source goes into the compiled pipeline, so it stands alone and imports within."""


def run_node(node: str, data: str, root: str, run_id: str, settings: list, overrides: list) -> None:
    """Runs `clickrank node` with the Python of the image, and ends as it ends."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "pipeline.cli", "node", node, data, "--root", root, "--run-id", run_id, "--verbose"]
    for setting in [*settings, *overrides]:
        command += ["--set", setting]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code if code > 0 else 128 - code)
