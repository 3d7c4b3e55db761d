"""How long counting a thousand variants takes, of every graph, in one process; and whether memory stays flat.

.venv/bin/python -m benchmarks.grid
"""

from itertools import islice, product
from time import perf_counter

from benchmarks.report import report, versions
from mnbench import families
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.worker.host.facts import peak_rss_bytes
from mnbench.workspace import table_paths

VARIANTS = 1000
LIMIT_S = 5.0


def main() -> None:
    """Count them twice, print and log."""
    graphs = [families.architecture(name) for name in table_paths("graphs")]
    alphas = [0.25 + step / 10 for step in range(10)]
    sides = [96 + 16 * step for step in range(10)]
    grid = list(islice(product(graphs, alphas, sides), VARIANTS))
    lines: list[str] = []
    for turn in ("first", "second"):
        begin = perf_counter()
        mult_adds = sum(
            total_cost(
                build_network(Variant(architecture=graph, alpha=alpha, resolution=(side, side))).layers
            ).mult_adds
            for graph, alpha, side in grid
        )
        took = perf_counter() - begin
        peak = (peak_rss_bytes() or 0) / 1e6
        lines.append(f"{turn} time: {len(grid)} variants in {took:.2f} s, {mult_adds:,} Mult-Adds, peak {peak:.1f} MB")
        lines.append(f"  goal: under {LIMIT_S:g} s: {'met' if took < LIMIT_S else 'missed'}")
    report("grid", [], notes=["\n".join(lines), versions("mnbench")])


if __name__ == "__main__":
    main()
