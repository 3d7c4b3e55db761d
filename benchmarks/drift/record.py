"""Repeat one small table for hours, quiet and beside a noisy neighbour: how far do a host's own runs lie apart?

One line of JSON a run: of each variant, what each process found; of the host, how busy it was meanwhile.
"""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.interleaved import ROOT

TABLE = ("v1", "--alpha", "1,0.25", "--res", "192,128")


@click.command()
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--runs", default=40, help="Of each kind.")
@click.option("--every", "every_s", default=240.0, help="Seconds from one pair of runs to the next.")
@click.option("--duration", default="0.5", help="Seconds timed in each process.")
def main(log: Path, runs: int, every_s: float, duration: str) -> None:
    """Append to LOG until it holds that many runs of each kind."""
    draw = random.Random()  # noqa: S311  an order, not a secret
    done = len(log.read_text().splitlines()) // 2 if log.exists() else 0
    for _ in range(done, runs):
        begin = time.monotonic()
        for kind in draw.sample(("quiet", "neighbour"), 2):
            with neighbour() if kind == "neighbour" else nullcontext():
                line = {"kind": kind, **run_table(*TABLE, "--duration", duration)[0]}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
        time.sleep(max(0.0, every_s - (time.monotonic() - begin)))


def run_table(*arguments: str, checkout: Path = ROOT) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run `mnbench run` of a checkout; return what a line of a log holds, and the records."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(checkout)
    before, pressure, started, begin = _busy(), _pressure(), datetime.now(UTC), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "mnbench", "run", *arguments, "--results", folder, "--format", "json")
        process = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        if process.returncode:
            raise click.ClickException(
                f"{' '.join(command)} ended with exit code {process.returncode}\n{process.stderr}"
            )
        duration_s = time.monotonic() - begin
        busy = [after - first for first, after in zip(before, _busy(), strict=True)]
        variants: dict[str, list[dict[str, float]]] = {}
        for path in sorted(Path(folder).glob("raw/*/*.npz")):
            with np.load(path) as arrays:
                variants.setdefault(path.stem.rpartition(".")[0], []).append(_figures(arrays["latencies_ns"]))
    line = {
        "started": round(started.timestamp()),
        "duration_s": round(duration_s, 1),
        "busy_cores": round(busy[0] / duration_s, 3),
        "steal_cores": round(busy[1] / duration_s, 3),
        "pressure": pressure,
        "variants": variants,
    }
    return line, json.loads(process.stdout)["records"]


def _figures(latencies_ns: Any) -> dict[str, float]:
    p10, median, p90 = np.quantile(latencies_ns, (0.1, 0.5, 0.9))
    return {
        "runs": len(latencies_ns),
        "min": int(latencies_ns.min()),
        "p10": round(p10),
        "median": round(median),
        "p90": round(p90),
        "mean": round(latencies_ns.mean()),
        "sd": round(latencies_ns.std(ddof=1)),
    }


@contextmanager
def neighbour() -> Generator[None]:
    """A process that streams through 64 MiB and computes, in bursts, on whatever core it gets."""
    process = multiprocessing.get_context("spawn").Process(target=_disturb, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _disturb() -> None:
    """Until whoever began it is gone, however it ended: one that is left behind would disturb what comes next."""
    draw = random.Random()  # noqa: S311
    block = np.zeros(8 * 2**20)
    parent = multiprocessing.parent_process()
    while parent and parent.is_alive():
        end = time.monotonic() + draw.expovariate(1 / 0.3)
        while time.monotonic() < end:
            block *= 1.0000001
        time.sleep(draw.expovariate(1 / 0.3))


def _busy() -> tuple[float, float]:
    """Seconds that all cores together have worked, and that the hypervisor took."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq) / 100, steal / 100


def _pressure() -> float | None:
    """How many percent of the last ten seconds some task waited for a core."""
    path = Path("/proc/pressure/cpu")
    return float(path.read_text().split("avg10=")[1].split()[0]) if path.exists() else None


if __name__ == "__main__":
    main()
