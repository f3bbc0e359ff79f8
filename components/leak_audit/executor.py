"""The LeakAudit's executor."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.leak_audit.sample import read_sample
from schemas.config import AuditConfig, FeaturesConfig
from transforms.audit import AUDIT_FILE, PROBED, SPLITS, probe_all


class Executor(base_executor.BaseExecutor):
    """See `LeakAudit`. What it finds is no error: the Gate judges."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `audit.json`: `history`, as `features.history` says; `rows` audited, by split; `max_auc_gap`; `probes`, what
        `transforms.audit.probe_all` returns.

        Raises:
            InputDataError: The examples are missing or damaged.
        """
        config = json.loads(exec_properties["config"])
        audit, features = AuditConfig(**config["audit"]), FeaturesConfig(**config["features"])
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        rows: dict[str, pa.Table] = {
            split: read_sample(Path(artifact_utils.get_split_uri([examples], split)), ("label", *PROBED), audit.max_rows)
            for split in SPLITS
        }
        found = {
            "history": features.history,
            "rows": {split: table.num_rows for split, table in rows.items()},
            "max_auc_gap": audit.max_auc_gap,
            "probes": probe_all(lambda split, column: rows[split][column], audit.max_auc_gap),
        }
        folder = Path(artifact_utils.get_single_uri(output_dict["audit"]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / AUDIT_FILE).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
