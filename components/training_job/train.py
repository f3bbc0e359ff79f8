"""Trains in a training job: makes it, or goes on with the one that is there, and stays with it to its end."""

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from components.trainer.work_dir import JOB, TRAINED, read_error, read_trained, write_job
from components.training_job import tfjob, trainjob
from components.training_job.group import Group, PodState, end_of, error_of
from components.training_job.logs import ChiefLog
from components.training_job.members import read_members
from components.training_job.pods import Object
from components.training_job.spec import CONTENT, FOLDER, TrainingJobSpec, plan
from components.training_job.watched import WatchedPods
from schemas import interrupts
from schemas.errors import ClickrankError, ConfigError, TransientError
from schemas.training_job import TrainingJobConfig

if TYPE_CHECKING:
    from components.trainer.job import Job, Trained
    from components.training_job.api import Api

logger = logging.getLogger(__name__)

KINDS: dict[str, ModuleType] = {"tfjob": tfjob, "trainjob": trainjob}
_POLL_S = 2
_RUN = "run"
_SEEN_LATE_S = 90.0
"""How long a file of another machine may stay unseen: network file systems keep what they know of a folder for a minute."""


def train_in_job(job: "Job", config: TrainingJobConfig) -> "Trained":
    """Trains in pods of a training job, and returns what they came to, as `execute` does in this process.

    A job that trains the same into the same folder is adopted, whoever made it; one that is there but has ended badly, or would
    train otherwise (another image, say), is deleted first, and its pods are waited for. The job is deleted when it has succeeded,
    when it is given up, and when this process is asked to stop; its pods then save themselves.

    Raises:
        ConfigError: There is no cluster, or the job cannot be made as configured.
        RemoteError: Kubernetes refuses something.
        TransientError: The job did not start in time, pods were lost too often, Kubernetes cannot be reached, or this process was
            asked to stop. The same again goes on from the last checkpoint.
        ClickrankError: Training failed, as in `execute`, or took longer than it may.
    """
    from components.training_job.api import Api

    kind = KINDS[config.kind]
    spec = plan(config, job.trainer, job.checkpoint_dir(), read=(job.train_dir, job.eval_dir, job.base_model))
    work_dir = Path(spec.work_dir)
    # In the folder of the training: another try of this node has another run_dir, and finds this one again.
    told = job.model_copy(update={"run_dir": str(work_dir / _RUN)})
    follower = Follower(Api(kind, config.namespace), kind, spec, told)
    follower.begin()
    follower.follow()
    trained = read_trained(work_dir)
    shutil.copytree(work_dir / _RUN, job.run_dir, dirs_exist_ok=True)
    follower.delete()
    return trained


class Follower:
    """One training job, from the side of who wants it done.

    Args:
        api: Where it is made.
        kind: What it is made as.
        spec: The job.
        job: What its pods are told.
        stop_requested: Whether to stop it.
        clock: Seconds.
    """

    def __init__(
        self,
        api: "Api",
        kind: ModuleType,
        spec: TrainingJobSpec,
        job: "Job",
        stop_requested: Callable[[], bool] = interrupts.stop_requested,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._api, self._kind, self._spec, self._job = api, kind, spec, job
        self._stop_requested, self._clock = stop_requested, clock
        self._work_dir = Path(spec.work_dir)
        self._what = f"{kind.KIND} {spec.name}"
        self._has_ended = False

    def begin(self) -> None:
        """Makes the job, or finds it."""
        manifest = self._manifest()
        found = self._api.get(self._spec.name)
        if found and self._may_adopt(found, manifest):
            logger.info("%s is there already; going on with it", self._what)
            return
        if found:
            logger.info("%s is there, but has ended or is another one; replacing it", self._what)
            self.delete()
        self._wait_until_gone()
        shutil.rmtree(self._work_dir, ignore_errors=True)
        self._work_dir.mkdir(parents=True)
        write_job(self._work_dir, self._job)
        self._create(manifest)
        logger.info("made %s in namespace %s, to train into %s", self._what, self._api.namespace, self._spec.folder)

    def follow(self) -> None:
        """Returns when training has succeeded.

        Raises:
            ClickrankError: It has not, see `train_in_job`; then no pod of the job trains any more.
        """
        from components.trainer.history import RelayHistory
        from components.training_job.api import UnreachableError

        relay = RelayHistory(self._job.run_dir, self._job.trainer.num_epochs, fresh=False)
        group = Group(self._spec.members, self._clock())
        pods = WatchedPods(self._api, self._spec.name, lambda labels: self._kind.member(labels, self._spec), self._kind.CONTAINER)
        log = ChiefLog(self._api.read_log)
        try:
            while not self._is_done(group, pods, log):
                relay.poll()
                if self._stop_requested():
                    raise self._stop(pods, log)
        except BaseException as error:
            # What has ended is left for whoever wants to know why; what cannot be reached cannot be deleted, and goes on.
            if not self._has_ended and not isinstance(error, UnreachableError):
                with contextlib.suppress(ClickrankError):  # the fault that led here is the one to tell
                    self.delete()
            raise
        finally:
            log.close()
        relay.poll()

    def delete(self) -> None:
        """Deletes the job."""
        self._api.delete(self._spec.name)

    def _manifest(self) -> Object:
        manifest = self._kind.render(self._spec)
        content = json.dumps([manifest, self._job.model_dump(mode="json")], sort_keys=True)
        manifest["metadata"]["annotations"] = {FOLDER: self._spec.folder, CONTENT: hashlib.sha256(content.encode()).hexdigest()}
        return manifest

    def _may_adopt(self, found: Object, manifest: Object) -> bool:
        meta = found["metadata"]
        theirs, ours = meta.get("annotations") or {}, manifest["metadata"]["annotations"]
        if theirs.get(FOLDER) != ours[FOLDER]:
            raise ConfigError(f"{self._what} in namespace {self._api.namespace} was not made by clickrank; delete it")
        end = end_of(found, self._kind.SUCCEEDED)
        return (
            theirs.get(CONTENT) == ours[CONTENT]
            and not meta.get("deletionTimestamp")
            and (end is None or (end[0] and (self._work_dir / TRAINED).exists()))
            and (self._work_dir / JOB).exists()  # else somebody has cleared the folder under it
        )

    def _create(self, manifest: Object) -> None:
        from components.training_job.api import ExistsError

        try:
            self._api.create(manifest)
        except ExistsError as error:
            # Ours, if an earlier try's answer was lost.
            found = self._api.get(self._spec.name)
            if not found or not self._may_adopt(found, manifest):
                raise TransientError(f"{self._what} was made by somebody else just now; run again") from error

    def _wait_until_gone(self) -> None:
        """Two jobs must never train into one folder, and pods go on for a while when their job has been deleted."""
        deadline = self._clock() + self._spec.config.grace_s + self._job.trainer.start_timeout_s
        while self._api.get(self._spec.name) or self._api.list_pods(self._spec.name)[0]:
            if self._stop_requested():
                raise TransientError("training was asked to stop before it began; run again")
            if self._clock() > deadline:
                raise TransientError(f"{self._what} was deleted, but it or its pods are still there; run again when they are gone")
            time.sleep(_POLL_S)

    def _is_done(self, group: Group, pods: WatchedPods, log: ChiefLog) -> bool:
        """Looks once, for some seconds; raises if training has failed."""
        pods.update(_POLL_S)
        chief = pods.current.get(self._spec.members[0])
        if chief and chief.phase != "Pending":
            log.follow(chief.name, chief.uid, ended=chief.phase in ("Succeeded", "Failed"))
        found = self._api.get(self._spec.name)
        end = end_of(found, self._kind.SUCCEEDED) if found else None
        if (chief and chief.phase == "Succeeded") or (end and end[0]):
            self._wait_for_result()
            return True
        now, said = self._clock(), read_members(self._work_dir, self._spec.members)
        group.update(pods.current, pods.failed, said, now)
        lost_for_good = [pod for pod in pods.failed.values() if pod.has_failed_for_good]
        if lost_for_good:
            raise self._error(lost_for_good)
        if found is None or (found["metadata"].get("deletionTimestamp") and not end):
            raise TransientError(f"{self._what} was deleted by somebody; run again to go on from the last checkpoint")
        if end:
            self._has_ended = True
            raise self._failure(end[1], pods)
        if group.losses > self._spec.max_restarts:
            raise TransientError(f"{group.lost}; that was once more than trainer.max_restarts={self._spec.max_restarts}")
        timeout = self._job.trainer.start_timeout_s
        if not group.trains and now - group.since > timeout:
            raise TransientError(
                f"{self._what}: not all {len(self._spec.members)} pods trained within trainer.start_timeout_s={timeout}: "
                f"{group.waits_for(pods.current, said)}"
            )
        return False

    def _failure(self, said: str, pods: WatchedPods) -> ClickrankError:
        """What it means that the operator says that the job has failed."""
        if "deadline" in said.lower():
            seconds = self._spec.config.active_deadline_s
            return ClickrankError(
                f"{self._what} took longer than training_job.active_deadline_s={seconds}; the last checkpoint is kept"
            )
        if pods.failed:
            return self._error(list(pods.failed.values()))
        return TransientError(f"{self._what} failed: {said or 'nobody says why'}")

    def _error(self, failed: list[PodState]) -> ClickrankError:
        """What failed pods come to: one failure makes others fail, too, and who left an error of its own kind is the cause."""
        errors = [read_error(self._work_dir, pod.member, pod.uid) or error_of(pod) for pod in failed]
        return min(errors, key=lambda error: isinstance(error, TransientError))

    def _wait_for_result(self) -> None:
        deadline = self._clock() + _SEEN_LATE_S
        while not (self._work_dir / TRAINED).exists():
            if self._clock() > deadline:
                raise ClickrankError(
                    f"{self._what} has succeeded, but left no {self._work_dir / TRAINED}: do its pods see "
                    f"training_job.volumes as the Trainer does? Its folder is {self._spec.folder}"
                )
            time.sleep(_POLL_S)

    def _stop(self, pods: WatchedPods, log: ChiefLog) -> TransientError:
        """Deletes the job, on which its pods save themselves, and waits until they are gone."""
        logger.info("asked to stop: deleting %s, whose pods have %d s to save themselves", self._what, self._spec.config.grace_s)
        chief = pods.current.get(self._spec.members[0])
        self.delete()
        deadline = self._clock() + self._spec.config.grace_s + _SEEN_LATE_S
        while self._clock() < deadline and pods.current:
            pods.update(_POLL_S)
        if chief:
            log.follow(chief.name, chief.uid, ended=True)
            left = read_error(self._work_dir, chief.member, chief.uid)
            if isinstance(left, TransientError):
                return left
        return TransientError("training was asked to stop; run again to go on from the last checkpoint")
