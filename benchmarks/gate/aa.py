"""Tables in which nothing has changed, and tables in which some graphs do more work: what does `mnbench compare` say?

One line of JSON a table is appended to a log, and a log that is complete is left alone, so the same command goes on
where it stopped. Each row also has what people who keep a number would compare: this table's candidate with the base of
the table before, of the same kind.

    python -m benchmarks.gate.aa "1 %" benchmarks/logs/gate-1-new.jsonl
    python -m benchmarks.gate.aa "3 %" benchmarks/logs/gate-3-new.jsonl
"""

import json
import math
import random
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from onnx import numpy_helper

import mnbench
from benchmarks.drift.record import neighbour
from mnbench import DecisionRules
from mnbench.model.model import Model
from mnbench.network.cost import layer_cost
from mnbench.stats import trimmed_mean

GRID = ("v1", "--alpha", "1,0.75,0.5,0.25", "--res", "224,192,160,128")
MNBENCH = (sys.executable, "-m", "mnbench")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many tables of each kind, quiet and beside a neighbour.

    `slower_rows` rows of a slower table do `added_work` more, as a share of their Mult-Adds.
    """

    rules: DecisionRules
    unchanged: int
    slower: int
    slower_rows: int
    added_work: float

    def kinds(self) -> list[str]:
        """Return the kind of every table."""
        counts = {"": self.unchanged, "+slower": self.slower}
        return [
            f"{host}{kind}" for kind, count in counts.items() for host in ("quiet", "neighbour") for _ in range(count)
        ]


PLANS = {
    "1 %": Plan(
        rules=DecisionRules(equivalence_margin=0.01, min_effect=0.005, noise_margin=0.0025),
        unchanged=20,
        slower=7,
        slower_rows=7,
        added_work=0.0075,
    ),
    "3 %": Plan(rules=DecisionRules(), unchanged=10, slower=10, slower_rows=5, added_work=0.03),
}


@click.command()
@click.argument("gate", type=click.Choice(PLANS))
@click.argument("log", type=click.Path(path_type=Path))
def main(gate: str, log: Path) -> None:
    """Append to LOG until it holds all tables of this gate."""
    plan = PLANS[gate]
    done = [json.loads(line)["kind"] for line in log.read_text().splitlines()] if log.exists() else []
    todo = plan.kinds()
    for kind in done:
        if kind in todo:
            todo.remove(kind)
    random.shuffle(todo)
    with tempfile.TemporaryDirectory() as folder:
        plain, slower = built(Path(folder), plan.added_work)
        for number, kind in enumerate(todo, len(done)):
            with neighbour() if kind.startswith("neighbour") else nullcontext():
                line = table(Path(folder), plain, slower, kind, plan, number, log.with_suffix(".last"))
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(number, kind, line["verdict"], f"{line['duration_s']} s", line["guilty"], file=sys.stderr)


def built(folder: Path, share: float) -> tuple[dict[str, Path], dict[str, Path]]:
    """The sixteen graphs, and beside each one that does more work."""
    (folder / "plain").mkdir()
    (folder / "slower").mkdir()
    subprocess.run([*MNBENCH, "build", *GRID], cwd=folder / "plain", check=True, capture_output=True)
    plain = {path.stem: path for path in sorted((folder / "plain").glob("*.onnx"))}
    slower: dict[str, Path] = {}
    for name, path in plain.items():
        slower[name] = folder / "slower" / path.name
        onnx.save(with_branch(onnx.load(path), share), slower[name])
    return plain, slower


def with_branch(proto: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """The graph with a branch that ends in its output: a 1 × 1 convolution of some channels, pooled.

    Its channels are a multiple of 16, and it begins where they bring it nearest to that share of the Mult-Adds.
    """
    costs = {layer.scope: layer_cost(layer).mult_adds for layer in Model(name="", proto=proto).node_layers}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    pointwise = [
        node for node in proto.graph.node if node.op_type == "Conv" and weights[node.input[1]].shape[2:] == (1, 1)
    ]
    wanted = share * sum(costs.values())

    def miss(choice: tuple[onnx.NodeProto, int]) -> float:
        node, channels = choice
        return abs(costs[node.name] * channels / weights[node.input[1]].shape[0] - wanted)

    choices = [
        (node, channels) for node in pointwise for channels in range(16, weights[node.input[1]].shape[0] + 1, 16)
    ]
    trunk, channels = min(choices, key=miss)
    kernel = weights[trunk.input[1]][::-1][:channels] * np.float32(0.1)
    output = proto.graph.output[0].name
    classes = proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    last = next(node for node in proto.graph.node if output in node.output)
    last.output[0] = "trunk"
    proto.graph.initializer.append(numpy_helper.from_array(kernel, "branch.weight"))
    proto.graph.initializer.append(
        numpy_helper.from_array(np.full((channels, classes), 1e-3, np.float32), "branch.head")
    )
    make = onnx.helper.make_node
    proto.graph.node.extend(
        [
            make("Conv", [trunk.input[0], "branch.weight"], ["branch.map"], name="branch"),
            make("GlobalAveragePool", ["branch.map"], ["branch.pooled"], name="branch/pool"),
            make("Flatten", ["branch.pooled"], ["branch.features"], name="branch/flatten"),
            make("MatMul", ["branch.features", "branch.head"], ["branch.logits"], name="branch/head"),
            make("Add", ["trunk", "branch.logits"], [output], name="branch/sum"),
        ]
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def table(
    folder: Path, plain: dict[str, Path], slower: dict[str, Path], kind: str, plan: Plan, seed: int, last: Path
) -> dict[str, Any]:
    """One table: what was found of each row, and whether it was guilty."""
    chosen = random.sample(sorted(plain), plan.slower_rows) if kind.endswith("slower") else []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        candidate = Path(place) / "candidate"
        candidate.mkdir()
        for name, path in plain.items():
            (candidate / path.name).symlink_to(slower[name] if name in chosen else path)
        judgement = mnbench.compare(
            folder / "plain", candidate, rules=plan.rules, seed=seed, allow=["busy"], results=Path(place)
        ).to_dict()
        raw = loaded(Path(place) / "raw" / judgement["run"])
    rows = {item.pop("variant"): item for item in judgement["findings"]}
    stored = last.with_name(f"{last.name}.{kind.partition('+')[0]}.npz")
    before = dict(np.load(stored)) if stored.exists() else {}
    for name, row in rows.items():
        row.update({key: row[key] and round(row[key], 5) for key in ("ratio", "low", "high")})
        row.update(figures(raw[name], before.get(name)))
    np.savez(stored, **{name: np.concatenate([item["base_ns"] for item in item]) for name, item in raw.items()})
    return {
        "kind": kind,
        "guilty": chosen,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": judgement["verdict"],
        "duration_s": judgement["duration_s"],
        "rules": judgement["rules"],
        "rows": rows,
    }


def loaded(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Of each row, the columns of every process, but for those that measured suspects again."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for at in range(len(list(folder.glob("pairs.*.npz")))):
        with np.load(folder / f"pairs.{at}.npz") as arrays:
            columns = dict(arrays)
        facts = json.loads(str(columns.pop("facts")))
        for number, variant in enumerate(facts["variants"] if facts["stage"] == "first" else ()):
            mine = columns["row"] == number
            entries.setdefault(variant, []).append({name: values[mine] for name, values in columns.items()})
    return entries


def figures(item: list[dict[str, Any]], before: Any) -> dict[str, Any]:
    """A row's effects by other estimators, and what comparisons with a stored number would make of it."""
    base, candidate = (np.concatenate([item[f"{side}_ns"] for item in item]) for side in ("base", "candidate"))
    entries: dict[str, Any] = {
        "base_ns": round(float(np.median(base))),
        "wall": [round(trimmed_mean(np.log(item["candidate_ns"] / item["base_ns"])), 5) for item in item],
        "cpu": [round(trimmed_mean(np.log(item["candidate_cpu_ns"] / item["base_cpu_ns"])), 5) for item in item],
    }
    if before is not None:
        entries["stored_median"] = round(float(np.median(candidate) / np.median(before)), 4)
        entries["stored_mean"] = round(float(candidate.mean() / before.mean()), 4)
        entries["stored_p"] = mann_whitney(before, candidate)
    return entries


def mann_whitney(base: Any, candidate: Any) -> float:
    """The one-sided p that the candidate is slower, by the normal approximation."""
    both = np.concatenate([base, candidate])
    _, kinds, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[kinds]
    n, m = len(base), len(candidate)
    score = ranks[n:].sum() - m * (m + 1) / 2
    return 0.5 * math.erfc((score - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12) / math.sqrt(2))


if __name__ == "__main__":
    main()
