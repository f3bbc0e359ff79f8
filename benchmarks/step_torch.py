"""Wide & deep in PyTorch with one EmbeddingBag a feature. Run by the interpreter that has torch: imports nothing of this project.

    python step_torch.py COLUMNS.npz SPEC.json THREADS

SPEC has `features` (name, buckets, embedding_dim), `units` and `label`. Prints the version and the device as JSON after two steps,
then for each line with a number of steps what these took. PyTorch has no FTRL: both parts have Adagrad, which is a little cheaper.
"""

import json
import resource
import sys
import time
from itertools import pairwise

import numpy as np
import torch


class WideDeep(torch.nn.Module):
    """The same layers as the Trainer's; it masks no missing values, so it does a little less."""

    def __init__(self, features: list, units: list):
        super().__init__()
        self.features = features
        bag = torch.nn.EmbeddingBag
        ids = [f for f in features if f["buckets"]]
        self.wide = torch.nn.ModuleDict({f["name"]: bag(f["buckets"], 1, mode="sum", sparse=True) for f in ids})
        self.deep = torch.nn.ModuleDict(
            {f["name"]: bag(f["buckets"], f["embedding_dim"], mode="mean", sparse=True) for f in ids if f["embedding_dim"]}
        )
        numbers = len(features) - len(ids)
        width = numbers + sum(f["embedding_dim"] or f["buckets"] for f in ids)
        sizes = [width, *units]
        layers = []
        for before, after in pairwise(sizes):
            layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))
        self.linear = torch.nn.Linear(numbers, 1)

    def forward(self, columns: dict) -> torch.Tensor:
        """Returns the logit (n,)."""
        numbers = torch.cat([columns[f["name"]] for f in self.features if not f["buckets"]], 1)
        wide, parts = self.linear(numbers), [numbers]
        for f in self.features:
            x = columns[f["name"]]
            if f["buckets"]:
                wide = wide + self.wide[f["name"]](x)
            if f["embedding_dim"]:
                parts.append(self.deep[f["name"]](x))
            elif f["buckets"]:
                parts.append(torch.nn.functional.one_hot(x[:, 0], f["buckets"]).float())
        return (wide + self.network(torch.cat(parts, 1)))[:, 0]


def main(path: str, spec_path: str, threads: int) -> None:
    """See the module."""
    with open(spec_path) as file:
        spec = json.load(file)
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with np.load(path) as arrays:
        columns = {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}
    labels = columns.pop(spec["label"]).float()[:, 0]
    for f in spec["features"]:
        x = columns[f["name"]]
        columns[f["name"]] = x.clamp(min=0).long() if f["buckets"] else x
    model = WideDeep(spec["features"], spec["units"]).to(device)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.05, initial_accumulator_value=0.1)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(columns), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(2):
        step()
    name = torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu"
    print(json.dumps({"version": torch.__version__, "device": name}), flush=True)  # noqa: T201
    for line in sys.stdin:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        for _ in range(int(line)):
            value = step()
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"wall_s": wall, "cpu_s": cpu, "loss": value}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
