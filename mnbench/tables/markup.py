"""Tables for documents: LaTeX with booktabs, and HTML."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from mnbench.tables.table import Column, Table

SPARKLINE_BARS = "▁▂▃▄▅▆▇█"
"""What a line of text draws a series with, the lowest first."""

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "α": r"$\alpha$",
    "ρ": r"$\rho$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "µ": r"\textmu{}",
    "–": "--",
    "·": r"$\cdot$",
    "⁹": r"\textsuperscript{9}",
    "⁶": r"\textsuperscript{6}",
    "Σ": r"$\Sigma$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\dots{}",
    **{bar: rf"\rule{{.4em}}{{{height / 5:.1f}ex}}" for height, bar in enumerate(SPARKLINE_BARS, 1)},
}
"""What LaTeX reads as something else, and signs that pdfLaTeX's fonts lack."""


def to_latex(table: Table[Any]) -> str:
    """A `tabular` for the booktabs package, with its title and its notes as comments."""
    heads = [column.header.split("\n") for column in table.columns]
    depth = max(map(len, heads))
    lines = [[(["", "", *head])[-depth:][at] for head in heads] for at in range(depth)]
    body = [[column.text(row) for column in table.columns] for row in table.rows]
    spec = "".join("l" if column.left else "r" for column in table.columns)
    return "\n".join(
        [
            *(f"% {line}" for line in table.title.splitlines()),
            f"\\begin{{tabular}}{{{spec}}}",
            "\\toprule",
            *map(_latex_row, lines),
            "\\midrule",
            *map(_latex_row, body),
            "\\bottomrule",
            "\\end{tabular}",
            *(f"% {note}" for note in table.notes),
            "",
        ]
    )


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join("".join(LATEX_ESCAPES.get(sign, sign) for sign in cell) for cell in cells) + r" \\"


RowAttributes = Callable[[Any], str]


def to_html(
    table: Table[Any],
    *,
    row_attributes: RowAttributes | None = None,
    head_content: Callable[[Column[Any]], str] | None = None,
    cell_element: Callable[[Column[Any], Any], str] | None = None,
) -> str:
    """A `<table>` with its notes behind it.

    `row` gives a row's attributes, `head` what stands in a column's head, and `cell` a whole cell.
    """
    caption = f"<caption>{'<br>'.join(map(escape, table.title.splitlines()))}</caption>\n" if table.title else ""
    heads = "".join(
        f'<th scope="col"{_side(column)}>{(head_content or _head)(column)}</th>' for column in table.columns
    )
    rows = "\n".join(
        f"<tr{row_attributes(row) if row_attributes else ''}>"
        f"{''.join((cell_element or _cell)(column, row) for column in table.columns)}</tr>"
        for row in table.rows
    )
    notes = "".join(f'\n<p class="note">{escape(note)}</p>' for note in table.notes)
    return f"<table>\n{caption}<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>{notes}\n"


def _head(column: Column[Any]) -> str:
    return escape(column.header.replace("\n", " "))


def _cell(column: Column[Any], row: Any) -> str:
    return f"<td{_side(column)}>{escape(column.text(row))}</td>"


def _side(column: Column[Any]) -> str:
    return "" if column.left else ' class="n"'
