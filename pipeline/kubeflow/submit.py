"""`clickrank submit`: compiles the pipeline, has Kubeflow Pipelines run it, once or by a schedule, and follows the run."""

import logging
from pathlib import PurePosixPath
from typing import Any, TextIO

from pipeline.console import RunConsole
from pipeline.jobs import check_run_id, new_run_id
from pipeline.kubeflow.follow import follow
from pipeline.kubeflow.place import Place, prepare, submit_run
from pipeline.kubeflow.recurring import schedule, six_fields
from pipeline.kubeflow.retries import Retries
from pipeline.nodes import nodes_for
from schemas import interrupts
from schemas.config import Config
from schemas.errors import ClickrankError, ConfigError, RemoteError, TransientError

_RECURRING = "clickrank"


def submit(
    data: str,
    root: str,
    config: Config,
    screen: TextIO,
    *,
    run_id: str | None = None,
    name: str | None = None,
    cron: str | None = None,
    wait: bool = False,
    retries: Retries | None = None,
) -> dict[str, Any]:
    """Submits a run, or with `cron` a recurring run. Once more with the same `run_id` or `name` does no harm.

    Args:
        data: Folder of the raw tables, as a pod sees it.
        root: Folder for everything the runs make, as a pod sees it.
        config: The configuration; `kubeflow.api` says where to.
        screen: Where to write.
        run_id: Name of the run; new unless given.
        name: In place of a run id: the run's name on Kubeflow, whose id the steps then make; with `cron`, the recurring run's.
        cron: Minute, hour, day, month and weekday.
        wait: Whether to follow the run to its end.
        retries: For calls; as in the configuration unless given.

    Returns:
        `name`, `run_id` (None if the steps make it), `kubeflow_id`, `url`, `experiment`, `version`, `state` and `refused`, whether
        the run ended because the model was. States: `created` or `there`; of a recurring run `created`, `unchanged` or `replaced`;
        of a run that was waited for, Kubeflow's.

    Raises:
        ClickrankError: It failed; see `pipeline.kubeflow.errors` and `follow`.
    """
    _check(data, root, run_id, name, cron, wait)
    api = config.kubeflow.api
    console = RunConsole(screen, len(nodes_for(config)))
    retries = retries or Retries(api.retries, api.backoff_s, say=lambda text: console.say(f"warning: {text}", style="yellow"))
    if not name and not cron:
        run_id = check_run_id(run_id or new_run_id())
        option = f"--run-id {run_id}"
    else:
        option = f"--name {name or _RECURRING}"
    name = run_id or name or _RECURRING
    interrupts.say_when_stopped(f"the same command with {option} goes on from there")
    parameters = {"data": data, "root": root, "run_id": run_id or "", "overrides": []}
    try:
        place = prepare(config, retries)
        if cron:
            return _schedule(place, name, cron, parameters, console)
        return _run(place, name, run_id, parameters, option, console, nodes_for(config) if wait else ())
    except TransientError as error:
        raise TransientError(f"{error}; the same command with {option} goes on from there") from error
    except ClickrankError:
        raise
    except Exception as error:  # of kfp, about an answer that is none of Kubeflow's
        logging.error("The pipeline was not submitted", exc_info=error)
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise RemoteError(f"Kubeflow Pipelines at {api.endpoint}: unforeseen: {type(error).__name__}: {first}") from error


def _check(data: str, root: str, run_id: str | None, name: str | None, cron: str | None, wait: bool) -> None:
    for what, path in (("DATA", data), ("--root", root)):
        if not PurePosixPath(path).is_absolute():
            raise ConfigError(f"{what} is a folder as a pod sees it, a path that begins with /. Received: {path}")
    if name is not None and (run_id is not None or not name.strip()):
        raise ConfigError("--name is a name, in place of --run-id")
    if cron is not None:
        six_fields(cron)
        if run_id is not None or wait:
            raise ConfigError("--cron makes runs with ids of their own: it goes with neither --run-id nor --wait")


def _schedule(place: Place, name: str, cron: str, parameters: dict[str, Any], console: RunConsole) -> dict[str, Any]:
    done = schedule(place, name, cron, parameters)
    console.say(f"Recurring run {name} ({cron}) {done.state}: {done.url}")
    if done.paused:
        console.say("warning: it is paused there", style="yellow")
    return _result(place, name, None, done.kubeflow_id, done.url, done.state)


def _run(
    place: Place,
    name: str,
    run_id: str | None,
    parameters: dict[str, Any],
    option: str,
    console: RunConsole,
    nodes: tuple[str, ...],
) -> dict[str, Any]:
    """Makes the run, and follows its `nodes` if there are any."""
    run = submit_run(place, name, parameters)
    state = "created" if run.created else "there"
    console.say(f"Run {name} {'submitted' if run.created else 'is there already'}: {run.url}")
    if not nodes:
        return _result(place, name, run_id, run.kubeflow_id, run.url, state)
    interrupts.say_when_stopped(f"the run goes on: {run.url}; the same command with {option} follows it")
    end = follow(place, run, nodes, console)
    return _result(place, name, run_id, run.kubeflow_id, run.url, end.state, refused=end.refused)


def _result(
    place: Place, name: str, run_id: str | None, kubeflow_id: str, url: str, state: str, *, refused: bool = False
) -> dict[str, Any]:
    return {
        "name": name,
        "run_id": run_id,
        "kubeflow_id": kubeflow_id,
        "url": url,
        "experiment": place.api.experiment,
        "version": place.version_name,
        "state": state,
        "refused": refused,
    }
