"""One of Beam's workers, started by the pool of `pipeline/worker_pool.py`: python -m pipeline.worker CONTROL_ADDRESS WORKER_ID"""

import sys

# First: the released tfx_bsl lacks a module that TFDV imports, and tfx puts a substitute in its place. What a worker unpickles
# names TFDV before tfx.
import tfx  # noqa: F401
from apache_beam.runners.worker.sdk_worker import SdkHarness

from schemas.interrupts import die_with_parent

STATE_CACHE_BYTES = 100 << 20
"""Of side inputs and other state; what Beam's workers have by default in a container."""


def main() -> None:
    """See the module."""
    control_address, worker_id = sys.argv[1:]
    die_with_parent()
    SdkHarness(control_address, worker_id=worker_id, state_cache_size=STATE_CACHE_BYTES).run()


if __name__ == "__main__":
    main()
