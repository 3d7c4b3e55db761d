"""Every graph at 28 α and 10 resolutions: built, checked, simplified with proof, counted twice; a sample is run.

.venv/bin/python -m benchmarks.everywhere

What is done stands in `build/everywhere.jsonl`: a run that was stopped goes on there, and a whole one removes it. Leave
nothing of it behind when you change a graph.
"""

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, pairwise, product
from math import inf, prod
from multiprocessing import get_context
from statistics import median
from time import perf_counter

import click
import numpy as np
import onnxruntime

from benchmarks.interleaved import ROOT
from benchmarks.report import report, versions
from mnbench import families
from mnbench.errors import MnbenchError
from mnbench.model.equivalence import check_equivalence
from mnbench.model.model import Model
from mnbench.model.precision import convert_precision
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import check_model, to_onnx
from mnbench.network.cost import Cost, total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Precision, Variant
from mnbench.workspace import table_paths

JOURNAL = ROOT / "build" / "everywhere.jsonl"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
GIVEN = (0.25, 0.35, 0.5, 0.75, 1.0, 1.25, 1.4, 2.0)
DRAW = random.Random(2)  # noqa: S311  α, not a secret
DRAWN = sorted(round(DRAW.uniform(0.2, 2.2), 3) for _ in range(20))
RESOLUTIONS = (*((side, side) for side in (32, 33, 96, 128, 160, 192, 224, 256)), (240, 320), (720, 1280))
"""Height and width."""

OTHER_GROUPS, OTHER_UNIT = (1, 2, 4, 8), "torchvision"
"""Besides the tables' own."""

FEW = 5
"""Drawn α where a variant takes half a minute (full convolutions hold half a gigabyte at α = 2), and for groups and
units other than the table's own, whose layers are the same but for their numbers."""

QUANTIZED_ALPHA, QUANTIZED_PIXELS = 1, 256 * 256
"""The most that is made int8: the quantizer keeps every activation of eight images and takes ten seconds beyond."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What came out of a variant. `outputs` hold mean and spread in each precision, if the variant was run."""

    variant: str
    graph: str
    faults: list[str] = field(default_factory=list)
    difference: float = 0.0
    outputs: dict[str, tuple[float, float]] = field(default_factory=dict)
    duration_s: float = 0.0


@click.command()
@click.option("--graph", "graphs", multiple=True, help="Default: all of them.")
@click.option("--drawn", default=20, show_default=True, type=click.Choice([5, 10, 20]), help="Random α of each graph.")
@click.option("--minutes", default=inf, help="Stop then, and log what is done; the next run goes on.")
@click.option("--sample", default=20, show_default=True, help="Run one variant in so many, in every precision.")
def main(graphs: Sequence[str], drawn: int, minutes: float, sample: int) -> None:
    """Try every variant at low priority on every core; print and log a tally."""
    begin = perf_counter()
    series = [grid(kind, drawn) for name in graphs or table_paths("graphs") for kind in kinds(name)]
    falls = list(chain.from_iterable(map(falling, series)))
    done = {result.variant: result for result in journal()}
    everything = list(chain.from_iterable(series))
    # In an order that leaves no corner out where a run is stopped.
    left = [variant for variant in random.Random(0).sample(everything, len(everything)) if variant.name not in done]  # noqa: S311
    JOURNAL.parent.mkdir(exist_ok=True)
    with (
        JOURNAL.open("a", encoding="utf-8") as file,
        ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=os.nice, initargs=(10,)) as pool,
    ):
        jobs = [pool.submit(tried, variant, run=sampled(variant, sample)) for variant in left]
        with suppress(TimeoutError):
            for job in as_completed(jobs, None if minutes == inf else 60 * minutes):
                result = job.result()
                done[result.variant] = result
                print(json.dumps(asdict(result)), file=file, flush=True)
        pool.shutdown(cancel_futures=True)
    missing = sum(variant.name not in done for variant in everything)
    took = f"{len(left) - missing} of them in the last {perf_counter() - begin:.0f} s; {missing} still to do"
    packages = versions("mnbench", "onnx", "onnxruntime", "onnxsim")
    report("everywhere", [], notes=[tally(done.values(), falls), took, packages])
    if not missing:
        JOURNAL.unlink()


def kinds(name: str) -> Iterator[Variant]:
    """The graph, once with each of its groups or units."""
    plain = Variant(architecture=families.architecture(name), resolution=(224, 224))
    yield plain
    if name == "shufflenet-v1":
        yield from (replace(plain, options={"groups": groups}) for groups in OTHER_GROUPS)
    if name == "shufflenet-v2":
        yield replace(plain, options={"unit": OTHER_UNIT})


def grid(kind: Variant, drawn: int) -> list[Variant]:
    """At every α, in order, and resolution."""
    if kind.options or kind.architecture.name == "v1-conv":
        drawn = FEW
    alphas = sorted((*GIVEN, *DRAWN[:: len(DRAWN) // drawn]))
    return [replace(kind, alpha=alpha, resolution=size) for alpha, size in product(alphas, RESOLUTIONS)]


def sampled(variant: Variant, sample: int) -> bool:
    """Whether it is one of the variants that are run, the same in every run."""
    return random.Random(variant.name).random() < 1 / sample  # noqa: S311  no secret


def counted(variant: Variant) -> Cost:
    """What it costs."""
    return total_cost(build_network(variant).layers)


def falling(variants: Sequence[Variant]) -> Iterator[str]:
    """Where a figure of the cost falls though α or both sides grow."""
    costs = {(variant.alpha, variant.resolution): counted(variant) for variant in variants}
    alphas = sorted({alpha for alpha, _ in costs})
    steps = [((low, sides), (high, sides)) for low, high in pairwise(alphas) for sides in RESOLUTIONS]
    steps += [
        ((alpha, small), (alpha, large))
        for alpha in alphas
        for small, large in product(RESOLUTIONS, RESOLUTIONS)
        if small[0] <= large[0] and small[1] <= large[1]
    ]
    for less, more in steps:
        for figure in ("params", "mult_adds", "memory_access"):
            if getattr(costs[less], figure) > getattr(costs[more], figure):
                yield f"{variants[0].architecture.name}: {figure} falls from {less} to {more}"


def journal() -> Iterator[Found]:
    """What a run that was stopped has left."""
    if JOURNAL.exists():
        yield from (Found(**json.loads(line)) for line in JOURNAL.read_text(encoding="utf-8").splitlines())


def tried(variant: Variant, *, run: bool) -> Found:
    """Build the variant and try all that should hold."""
    begin = perf_counter()
    result = Found(variant=variant.name, graph=variant.architecture.name)
    try:
        built = build_network(variant)
        plain = to_onnx(built)
        check_model(plain)
        if plain.node_layers != built.layers:
            result.faults.append("the table's layers are not the graph's")
        simplified = simplify(plain, thorough=False)
        check_model(simplified)
        before, after = total_cost(built.layers), total_cost(simplified.node_layers)
        if any(
            getattr(before, figure) != getattr(after, figure) for figure in ("weights", "mult_adds", "memory_access")
        ):
            result.faults.append("the simplified graph is counted otherwise")
        result.difference = check_equivalence(plain, simplified).difference
        for precision in precisions(variant) if run else ():
            result.outputs[precision] = moments(convert_precision(simplified, precision))
    except MnbenchError as failure:
        result.faults.append(str(failure))
    result.faults += [f"{key}: output of {value}" for key, value in result.outputs.items() if not 0 < value[1] < np.inf]
    result.duration_s = round(perf_counter() - begin, 3)
    return result


def precisions(variant: Variant) -> Sequence[Precision]:
    """Those that a sampled variant is run in."""
    quick = variant.alpha <= QUANTIZED_ALPHA and prod(variant.resolution) <= QUANTIZED_PIXELS
    return PRECISIONS if quick else PRECISIONS[:2]


def moments(model: Model) -> tuple[float, float]:
    """Mean and spread of the output, run as users run it: with onnxruntime's optimizations."""
    check_model(model)
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, model.make_inputs(0))
    return float(output.mean(dtype=np.float64)), float(output.std(dtype=np.float64))


def tally(founds: Iterable[Found], falls: Sequence[str]) -> str:
    """A line for each graph, and every fault."""
    graphs: dict[str, list[Found]] = {}
    for item in founds:
        graphs.setdefault(item.graph, []).append(item)
    lines = [f"{'graph':18}variants  difference   run  mean of the output     spread of the output, min · median · max"]
    lines += [f"{'':49}{'fp32':>20}{'fp16':>24}{'int8':>24}"]
    for graph, ones in graphs.items():
        outputs = [item.outputs for item in ones if item.outputs]
        means = [mean for output in outputs for mean, _ in output.values()]
        spreads = [spreads_of(outputs, precision) for precision in PRECISIONS]
        middle = f"{min(means):+.2f} to {max(means):+.2f}" if means else f"{'-':14}"
        lines.append(
            f"{graph:18}{len(ones):8}{max(item.difference for item in ones):12.1e}{len(outputs):6}  {middle}  "
            + "  ".join(spreads)
        )
    faults = [f"{item.variant}: {fault}" for item in chain.from_iterable(graphs.values()) for fault in item.faults]
    lines.append(f"{sum(map(len, graphs.values()))} variants, {len(faults)} faults, {len(falls)} falls of the cost")
    return "\n".join([*lines, *faults, *falls])


def spreads_of(outputs: Iterable[dict[str, tuple[float, float]]], precision: str) -> str:
    """The least, the middle and the largest, of those that were run in that precision."""
    spreads = [output[precision][1] for output in outputs if precision in output]
    return f"{min(spreads):.2f} · {median(spreads):.2f} · {max(spreads):.2f}" if spreads else "-"


if __name__ == "__main__":
    main()
