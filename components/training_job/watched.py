"""The pods of a job as they come and go."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from components.training_job.group import PodState, pod_state
from components.training_job.pods import Object

if TYPE_CHECKING:
    from components.training_job.api import Api

_PAUSE_S = 1.0


class WatchedPods:
    """Lists the pods once and watches them from then on, so that one that fails and is made anew at once is seen to have failed.

    Args:
        api: Where they are.
        name: Their job's.
        member: A pod's labels -> which of the job's members it is.
        container: The name of the container that trains.

    Attributes:
        current: Name of a member -> its pod, of those that are there.
        failed: uid -> pods that were seen to fail.
    """

    def __init__(self, api: "Api", name: str, member: Callable[[dict[str, Any]], str], container: str):
        self._api, self._name, self._member, self._container = api, name, member, container
        self._version = ""
        self.current: dict[str, PodState] = {}
        self.failed: dict[str, PodState] = {}

    def update(self, seconds: int) -> None:
        """Takes in what happens within some seconds, or what there is if nothing is known yet."""
        from components.training_job.api import ExpiredError

        if not self._version:
            pods, self._version = self._api.list_pods(self._name)
            self.current.clear()
            for pod in pods:
                self._note(pod)
            return
        try:
            for event, pod in self._api.watch_pods(self._name, self._version, seconds):
                self._version = pod["metadata"]["resourceVersion"]
                if event in ("ADDED", "MODIFIED"):
                    self._note(pod)
                elif event == "DELETED":
                    state = self._note(pod)
                    if self.current[state.member].uid == state.uid:
                        del self.current[state.member]
        except ExpiredError:
            self._version = ""
            time.sleep(_PAUSE_S)

    def _note(self, pod: Object) -> PodState:
        state = pod_state(pod, self._member(pod["metadata"]["labels"]), self._container)
        known = self.current.get(state.member)
        # A pod that is going may still be there when the one in its place has come.
        if known is None or known.uid == state.uid or not pod["metadata"].get("deletionTimestamp"):
            self.current[state.member] = state
        if state.phase == "Failed":
            self.failed[state.uid] = state
        return state
