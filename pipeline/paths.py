"""Where a root keeps what."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RootPaths:
    """The folders and files under the root of a pipeline's runs."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """Outputs of the pipeline's nodes, by node, output and execution; TFX's layout."""
        return self.root / "artifacts"

    @property
    def metadata(self) -> Path:
        """The metadata store: every run, execution and artifact, and what came of what."""
        return self.root / "metadata.sqlite"

    @property
    def store_note(self) -> Path:
        """Which database the metadata store is, where it is not that file; see `pipeline.connection`."""
        return self.root / "metadata.json"

    @property
    def sizes(self) -> Path:
        """How many files and bytes each artifact had when its run ended."""
        return self.root / "sizes.json"

    @property
    def rejects(self) -> Path:
        """Bad rows of runs that stopped because of them."""
        return self.root / "rejects"

    @property
    def checkpoints(self) -> Path:
        """Of trainings that have not come to their end, each in a folder of its own."""
        return self.root / "checkpoints"

    @property
    def serving(self) -> Path:
        """The pushed models, unless `push.directory` says otherwise."""
        return self.root / "serving"

    @property
    def lock(self) -> Path:
        """Held by the run that is using the root."""
        return self.root / ".lock"

    @property
    def store_lock(self) -> Path:
        """Held for a moment by a step that looks after the metadata store, for others may begin or end just now."""
        return self.root / ".store.lock"

    @property
    def runs(self) -> Path:
        """A folder for each run, of its id."""
        return self.root / "runs"

    @property
    def jobs(self) -> Path:
        """For each run that an orchestrator began without giving it an id, a file of the orchestrator's name with the id in it."""
        return self.root / "jobs"

    def run(self, run_id: str) -> Path:
        """What belongs to one run: its log, resolved configuration, summary, what its nodes took, and report."""
        return self.runs / run_id

    def steps(self, run_id: str) -> Path:
        """Of a run whose nodes are processes of their own: a log, a lock and what it took, for each node."""
        return self.run(run_id) / "steps"

    def record(self, run_id: str) -> Path:
        """What a run was made of; see `pipeline.record`."""
        return self.run(run_id) / "record.json"

    def usage(self, run_id: str) -> Path:
        """What the nodes of a run took; see `pipeline.usage`."""
        return self.run(run_id) / "nodes.json"

    def tracking(self, run_id: str) -> Path:
        """What of a run goes to MLflow, and whether it went; see `pipeline.tracking`."""
        return self.run(run_id) / "tracking.json"

    def report(self, run_id: str) -> Path:
        """The report of a run."""
        return self.run(run_id) / "report.html"
