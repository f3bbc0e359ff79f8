"""Recurring runs: Kubeflow starts the pipeline by itself, at the times of a cron expression.

Kubeflow cannot change a recurring run. The new one is made before the old one is removed, so that at no time there is none.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import kfp_server_api
from kfp.client import Client

from pipeline.kubeflow.client import identity, listed
from pipeline.kubeflow.errors import CallError
from pipeline.kubeflow.place import Place, made_of, page
from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A recurring run.

    Attributes:
        kubeflow_id: Kubeflow's id.
        url: The page that shows it.
        state: `created`, `unchanged` or `replaced`.
        paused: Whether it was there and somebody has paused it.
    """

    kubeflow_id: str
    url: str
    state: str
    paused: bool


def six_fields(cron: str) -> str:
    """Returns a cron expression of five fields as Kubeflow takes it, with seconds in front.

    Kubeflow reads five fields as seconds to month (robfig/cron, version 1): "0 3 * * *" would be three minutes past every hour.

    Raises:
        ConfigError: It has not five fields.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise ConfigError(f"--cron has five fields: minute, hour, day, month and weekday, such as '0 3 * * *'. Received: {cron!r}")
    return " ".join(["0", *fields])


def schedule(place: Place, name: str, cron: str, parameters: dict[str, Any]) -> Scheduled:
    """Makes a recurring run, unless one of that name is the same already; others of that name are removed.

    Args:
        place: Where.
        name: Its name.
        cron: Five fields; in the time zone of Kubeflow's controller, UTC unless it was told otherwise.
        parameters: Of each run.

    Raises:
        ClickrankError: See `pipeline.kubeflow.place.prepare`.
    """
    client, api, wanted = place.client, place.api, six_fields(cron)

    def same(one: Any) -> bool:
        times = one.trigger and one.trigger.cron_schedule
        # Without one of ours, Kubeflow takes its own.
        account = api.service_account in (None, one.service_account)
        return bool(times) and times.cron == wanted and account and made_of(one, place, parameters)

    def find_or_make() -> tuple[Any, bool, list[str]]:
        found = list(listed(client.list_recurring_runs, "recurring_runs", name, experiment_id=place.experiment))
        kept = next(filter(same, found), None)
        others = [identity(api, one, "recurring_run_id") for one in found if one is not kept]
        if kept is not None:
            return kept, False, others
        made = client.create_recurring_run(
            experiment_id=place.experiment,
            job_name=name,
            cron_expression=wanted,
            # Two runs cannot use one root at once, and what was missed is in the next run's data.
            max_concurrency=1,
            no_catchup=True,
            params=parameters,
            pipeline_id=place.pipeline,
            version_id=place.version,
            service_account=api.service_account,
        )
        return made, True, others

    recurring, created, others = place.retries.persist(find_or_make)
    for other in others:
        place.retries.persist(partial(_remove, client, other))
    recurring_id = identity(api, recurring, "recurring_run_id")
    state = "replaced" if others else "created" if created else "unchanged"
    paused = not created and recurring.status == kfp_server_api.V2beta1RecurringRunStatus.DISABLED
    return Scheduled(recurring_id, page(api, f"recurringrun/details/{recurring_id}"), state, paused)


def _remove(client: Client, recurring_run: str) -> None:
    try:
        client.delete_recurring_run(recurring_run)
    except CallError as problem:
        # The answer to an earlier try was lost.
        if problem.status != 404:
            raise
