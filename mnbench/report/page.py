"""The report: one HTML page with plots, table, issues, hosts and the commands that measure it again."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from mnbench import __version__
from mnbench.errors import ResultsError
from mnbench.hosts.facts_table import facts_table
from mnbench.network.row import row_labels
from mnbench.plots import PLOT_KINDS
from mnbench.plots.figures import Plot
from mnbench.plots.points import plot_labels
from mnbench.plots.theme import PAGE, style_sheet
from mnbench.plots.write import PAGE_SIZES, draw_for_page, load_vl_convert
from mnbench.report.commands import rerun_commands
from mnbench.results.columns import COLUMNS, labelled_columns
from mnbench.results.host_identity import HostIdentity
from mnbench.results.latency_table import default_columns, explain, setting_labels
from mnbench.results.record import Issue, Record
from mnbench.tables import html, json_text
from mnbench.tables.html import escape_text
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table

MEASUREMENT_COLUMNS = (
    *("device", "variant", "processes", "runs", "effective_runs", "cpu_ns", "first_run_ns", "session_ns"),
    *("peak_rss_bytes", "difference", "placed", "runtime", "measured_at"),
)
"""Columns that say how a row was measured."""

MAX_LISTED_ISSUES = 400
"""Issues listed one by one; if there are more, each kind is listed once."""

MAX_RECORDS = 10_000
"""Records of a page: of 100,000 it took 20 s to write, of the first 10,000 of them 9 s."""

MAX_ROWS = 2000
"""Rows in the page's tables: Chromium took 1.6 s to show 2,000 on two busy cores, and 10 s for 16,000."""

METHOD = (
    "Each row was measured in fresh processes, in random order: a session is created, run once, warmed up, and timed"
    " with its inputs and outputs bound beforehand. Latency is the median of the processes' medians. Costs are counted,"
    " layer by layer, and not measured."
)


def render_page(results: Path, records: Sequence[Record], *, title: str, notes: Sequence[str] = ()) -> str:
    """Return the whole HTML file, of the first MAX_RECORDS records. `notes` say which rows it does not show.

    Raises:
        MnbenchError: what draws the plots is not installed.
    """
    if len(records) > MAX_RECORDS:
        left_out = f"this page is of the first {MAX_RECORDS:,} of {len(records):,} rows: choose others with --where"
        records, notes = records[:MAX_RECORDS], [left_out, *notes]
    measured = [record for record in records if record.latency_ns]
    if not measured:
        raise ResultsError(f"{results}: no row was measured", hint="see why: mnbench table")

    def read(name: str) -> str:
        return files("mnbench.report").joinpath(name).read_text(encoding="utf-8")

    if len(records) > MAX_ROWS:
        shown = f"the plots show {len(records):,} rows, the tables and commands the first {MAX_ROWS:,}"
        notes = [f"{shown}: the others are in mnbench table --format csv", *notes]
    names, differing = _columns(records), _differing(measured)
    library = load_vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;")
    days = sorted(record.measured_at[:10] for record in measured)
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    settings = _by_device_and_host(records)
    lead = f"{len(measured)} variants measured on {', '.join(settings)}, {when}."
    sections = {f"device-{setting}": f"Plots: {setting}" for setting in settings}
    sections |= {"results": "Results", "issues": "Issues", "measured": "How it was measured"}
    sections |= {"hosts": "Hosts", "again": "Measure it again"}
    notes = [*(note for note in explain(measured[:MAX_ROWS], names) if note[0] not in "≈!·"), *notes]
    return Template(read("page.html")).substitute(
        version=escape_text(__version__),
        title=escape_text(title),
        lead=escape_text(lead),
        links="".join(f'<a href="#{escape_text(key)}">{escape_text(name)}</a>' for key, name in sections.items()),
        style=style_sheet() + read("page.css") + _right("#table", names) + _right("#runs", differing),
        plots="".join(_device(results, mine, setting) for setting, mine in settings.items()),
        table=_table(records, names),
        notes="".join(f'<p class="note">{escape_text(note)}</p>' for note in notes),
        issues=_issues(records),
        measured=_measured(measured, differing),
        hosts="".join(_hosts(measured)),
        commands="\n".join(map(escape_text, rerun_commands(records[:MAX_ROWS]))),
        library=library.replace("</script", "<\\/script"),
        script=read("page.js"),
    )


def _columns(records: Sequence[Record]) -> list[str]:
    """Return the terminal table's columns, with accuracy and issues, and the device if there are several.

    Graph and variant come first: they stay visible while a narrow screen scrolls.
    """
    devices = ["device"] if len({record.device for record in records}) > 1 else []
    names = [*devices, *default_columns(records), "top1", "issues"]
    return sorted(dict.fromkeys(names), key=lambda name: name not in ("graph", "variant"))


def _table(records: Sequence[Record], names: Sequence[str]) -> str:
    def row(record: Record) -> str:
        return f' data-variant="{escape_text(labels[record.row])}" data-device="{escape_text(record.device)}"'

    def head(column: Column[Any]) -> str:
        return f'<button type="button">{"<br>".join(map(escape_text, column.header_lines))}</button>'

    columns, labels = labelled_columns(names, records), plot_labels(record.row for record in records)
    return html.render(
        Table(columns=columns, rows=records[:MAX_ROWS]), row_attributes=row, header_content=head, cell=_cell
    )


def _cell(column: Column[Any], row: Any) -> str:
    """Return a cell in few bytes: a report may have 250,000. HTML needs no end tag, and `_right` aligns it."""
    return f"<td>{escape(column.text(row))}"


def _right(place: str, names: Sequence[str]) -> str:
    """Return the style that aligns numbers right."""
    cells = ",".join(f":nth-child({at})" for at, name in enumerate(names, 1) if not COLUMNS[name].left)
    return f"{place} td:is({cells}) {{ text-align: right; }}\n"


def _by_device_and_host(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of each device with latencies; of each host of it if there are several."""
    hosts: dict[str, set[str]] = {}
    for record in records:
        if record.latency_ns:
            hosts.setdefault(record.device, set()).add(str(record.host_identity))
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.device in hosts:
            several = len(hosts[record.device]) > 1 and record.host
            name = f"{record.device} on {record.host_identity}" if several else record.device
            groups.setdefault(name, []).append(record)
    return groups


def _device(results: Path, records: Sequence[Record], setting: str) -> str:
    return (
        f'<section id="device-{escape_text(setting)}">\n<h2>{escape_text(setting)}</h2>\n'
        f'<p class="setting">{" ".join(map(escape_text, setting_labels(records)))}</p>\n'
        f'<div class="plots">\n{"".join(_figures(results, records, records[0].device))}</div>\n</section>\n'
    )


def _figures(results: Path, records: Sequence[Record], device: str) -> Iterator[str]:
    for kind in PLOT_KINDS:
        if kind == "devices":  # a section has one
            continue
        try:
            figure = Plot(kind=kind, results=results, records=records)
        except ResultsError:
            # What was not measured has no plot.
            continue
        measured = [record for record in records if record.latency_ns]
        drawing = draw_for_page(figure.draw_panel(measured, PAGE, PAGE_SIZES), PAGE)
        spec = json_text.dump_for_script(drawing)
        yield (
            f'<figure data-device="{escape_text(device)}" data-kind="{kind}">\n<h3>{escape_text(figure.title)}</h3>\n'
            f'<div class="plot" role="img" aria-label="{escape_text(figure.title)}"></div>\n'
            f"<figcaption>{escape_text(figure.legend(measured))}</figcaption>\n"
            f'<script type="application/json">{spec}</script>\n</figure>\n'
        )


def _issues(records: Sequence[Record]) -> str:
    labels = row_labels(record.row for record in records)
    rows = [(record, issue) for record in records for issue in record.issues]
    failures = [record for record in records if record.error]
    failed = "".join(
        f"<p>{escape_text(labels[record.row])} failed: {escape_text(record.error or '')}</p>"
        for record in failures[:MAX_LISTED_ISSUES]
    )
    if len(failures) > MAX_LISTED_ISSUES:
        failed += f"<p>{len(failures) - MAX_LISTED_ISSUES:,} more failed.</p>"
    if not rows:
        return failed or "<p>None.</p>"
    summary = f"{len(rows):,} issues"
    columns = [
        quantity("device", lambda item: item[0].device),
        Column[tuple[Record, Issue]](name="issue", value=lambda item: item[1].name, left=True),
        quantity("variant", lambda item: labels[item[0].row]),
        Column[tuple[Record, Issue]](name="what to do", value=lambda item: item[1].advice, left=True),
    ]
    if len(rows) > MAX_LISTED_ISSUES:
        count = Counter((record.device, issue.name) for record, issue in rows)
        rows = list({(record.device, issue.name): (record, issue) for record, issue in reversed(rows)}.values())
        columns.insert(
            2, Column(name="rows", value=lambda item: count[item[0].device, item[1].name], format="{:,}".format)
        )
        columns[3] = replace(columns[3], name="such as")
    return failed + _folded(summary, html.render(Table(columns=columns, rows=rows)))


def _measured(records: Sequence[Record], names: Sequence[str]) -> str:
    """Return a table of the columns that differ, with the values that all rows share above it."""
    common = [COLUMNS[name] for name in MEASUREMENT_COLUMNS if name not in names]
    words = [(column.title or column.name, column.text(records[0]), column.unit) for column in common]
    message = ", ".join(" ".join(filter(None, said)).replace("\n", " ") for said in words)
    table = html.render(Table(columns=labelled_columns(names, records), rows=records[:MAX_ROWS]), cell=_cell)
    every = f"<p>Of every row: {escape_text(message)}.</p>" if message else ""
    return f"<p>{escape_text(METHOD)}</p>{every}" + _folded("Of each row", table, name="runs")


def _differing(records: Sequence[Record]) -> list[str]:
    """Return the variant, and the measurement columns whose values differ between rows."""

    def differs(column: Column[Record]) -> bool:
        first = column.text(records[0])
        return any(column.text(record) != first for record in records)

    return [name for name in MEASUREMENT_COLUMNS if name == "variant" or differs(COLUMNS[name])]


def _folded(summary: str, table: str, *, name: str = "") -> str:
    key = f' id="{name}"' if name else ""
    head = f"<details{key}><summary>{escape_text(summary)}</summary>"
    return f'{head}\n<div class="scroll" tabindex="0">{table}</div></details>'


def _hosts(records: Sequence[Record]) -> Iterator[str]:
    """Yield the facts of each host once."""
    hosts: dict[tuple[object, ...], tuple[str, HostIdentity | None, dict[str, Any]]] = {}
    for record in records:
        facts = record.host | {f"gpu_{name}": value for name, value in (record.gpu or {}).items()}
        facts |= {"runtime": f"{record.runtime.name} {record.runtime.version}", "build": record.runtime.build}
        facts |= {"library SHA-256": record.runtime.library_sha256}
        key = record.device, record.host_identity, record.runtime.version
        hosts.setdefault(key, (record.device, record.host_identity, facts))
    for device, host, facts in hosts.values():
        table = html.render(facts_table(facts))
        yield _folded(f"{device}: {host}", table).replace("<td>", '<td class="long">')
