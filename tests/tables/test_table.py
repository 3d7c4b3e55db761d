"""Tables: their columns, and the formats that write them."""

# ruff: noqa: SIM300  expected == actual

import json
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace

import pytest

from mnbench.errors import MnbenchError
from mnbench.tables import FORMATS
from mnbench.tables.quantities import QUANTITIES, quantity
from mnbench.tables.table import Column, Table

Row = namedtuple("Row", "variant latency_ns")  # noqa: PYI024  a test's own
TABLE = Table(
    columns=[Column(name="variant", left=True), quantity("latency_ns")],
    rows=[Row("v1|a", 1_234_000), Row("<v2>", None)],
    title="cpu",
    notes=["a note"],
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_values(name):
    """Each format names the columns and has every value, the CSV and JSON in base units."""
    text = TABLE.to(name)

    assert text.endswith("\n")
    assert "variant" in text
    assert ("1234000" if name in ("csv", "json") else "1.23") in text


def test_a_format_escapes_what_it_would_read():
    """A bar in Markdown and an angle bracket in HTML stay text."""
    assert r"v1\|a" in TABLE.to("markdown")
    assert "&lt;v2&gt;" in TABLE.to("html")


def test_a_row_is_one_line():
    """Names in models may hold line breaks, and characters of double width, which are not cut where there is room."""
    table = Table(columns=[Column(name="variant", left=True)], rows=[Row("畳み込み\nb\n", None)])

    assert "| 畳み込み b |" in table.to("markdown").splitlines()
    assert "畳み込み b" in str(table)


def test_json_is_the_rows_in_base_units():
    """A value that is absent is null."""
    expected = [{"variant": "v1|a", "latency_ns": 1_234_000}, {"variant": "<v2>", "latency_ns": None}]

    assert {"rows": expected} == json.loads(TABLE.to("json"))
    assert expected == TABLE.to_dicts()


def test_a_table_prints_itself_without_colours():
    """`str` is the terminal's text, and a notebook shows the HTML."""
    styled = replace(TABLE, columns=[Column(name="variant", style=lambda _: "red")])

    assert ["cpu", "latency", "ms"] == [line.split()[-1] for line in str(TABLE).splitlines() if line.strip()][:3]
    assert "\x1b" not in str(styled)
    assert TABLE.to("html") == TABLE._repr_html_()


@pytest.mark.parametrize(("columns", "width"), [("40", 40), ("130", 130), ("0", 100), (None, 100), ("wide", 100)])
def test_the_width_of_a_pipe_is_that_of_columns(monkeypatch, columns, width):
    """The variable COLUMNS limits the width where no terminal does; without it, it is 100."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    notes = Table(columns=TABLE.columns, rows=TABLE.rows, notes=["word " * 60]).to("rich").splitlines()[-4:]

    assert width - 5 < max(map(len, notes)) <= width


def test_an_unknown_format_is_an_error_that_names_the_others():
    """The hint has every format."""
    with pytest.raises(MnbenchError) as error:
        TABLE.to("pdf")

    assert all(name in error.value.hint for name in FORMATS)


def test_only_text_for_terminals_imports_rich():
    """A table becomes Markdown, HTML, CSV, JSON and LaTeX without rich."""
    program = (
        "import sys; from mnbench.tables.table import *; t = Table(columns=[Column(name='real')], rows=[1])\n"
        "for name in ('markdown', 'html', 'csv', 'json', 'latex'): t.to(name)\nprint('rich' in sys.modules)"
    )

    assert "False\n" == subprocess.check_output([sys.executable, "-c", program], text=True)


def test_quantities_have_a_unit_or_need_none():
    """A name that ends with a unit has one that a person reads."""
    assert [] == [name for name, column in QUANTITIES.items() if name.endswith(("_ns", "_bytes")) and not column.unit]
    assert "12.35" == quantity("mult_adds", lambda _: 12_345_678, decimals=2).text(None)
