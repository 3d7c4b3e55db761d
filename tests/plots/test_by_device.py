"""The plot of devices: one panel a variant, from the results of every runtime."""

from pathlib import Path

from mnbench.plots.figures import Plot
from mnbench.plots.theme import LIGHT
from mnbench.results.selection import load_records

ROOT = Path(__file__).parents[2]


def test_a_plot_of_devices_has_a_panel_a_variant_and_the_reasons_of_failures():
    """The fastest device is the first; a device that failed is the last, with its reason instead of a mark."""
    records = load_records(ROOT / "results" / "runtimes", []).records
    spec = Plot(kind="devices", results=None, records=records).spec(LIGHT)
    (panel,) = (panel for panel in spec["concat"] if panel["title"]["text"] == "v3-small-a1-r224")
    rows = panel["data"]["values"]
    latencies = [row["latency"] for row in rows if "latency" in row]

    assert len(spec["concat"]) == len({record.variant for record in records})
    assert latencies == sorted(latencies)
    assert [row["fastest"] for row in rows if row["fastest"]] == [True]
    assert "outputs differ" in next(row["text"] for row in rows if row["device"] == "opencv")
    assert rows[-1]["device"] == "opencv"
