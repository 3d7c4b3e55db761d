"""Colours and shapes: one look on paper, on a dark screen, and in a page that changes between both.

The colours are those of Okabe and Ito, "Color Universal Design" (2008), which readers with any common colour blindness
tell apart; what colour says, a shape or a text says too.
"""

from dataclasses import dataclass
from typing import Any

from mnbench.families import family_classes

ORANGE, SKY_BLUE, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

FAMILIES = ("mobilenet-v1", "mobilenet-v2", "mobilenet-v3", "shufflenet-v1", "shufflenet-v2", "own")
"""The families that have the first colours of `Theme.series`; other families have the next ones, `own` has the last."""

COMPARATORS = "layer-table"
"""The family that has no colour: its networks have nothing in common."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
"""Of the graphs of one family."""

FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """`series` are the colours of families and of lines, `parts` those of layer types, side by side in one bar."""

    background: str | None
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]
    parts: tuple[str, ...]

    def family_color(self, name: str) -> str:
        if name == COMPARATORS:
            return self.muted
        *colors, other = self.series
        families = [*FAMILIES[:-1], *sorted({*family_classes()}.difference(FAMILIES, [COMPARATORS]), reverse=True)]
        return colors[families.index(name) % len(colors)] if name in families else other

    def part_text_color(self, at: int) -> str:
        """Return the colour of text on a part: white on the dark one."""
        if self is PAGE:
            return f"var(--on-part-{at % len(self.parts)})"
        return "#FFFFFF" if self.parts[at] == BLUE else "#000000"

    @property
    def config(self) -> dict[str, Any]:
        """Return Vega-Lite's config: the look of everything that shows no data."""
        text = {"labelColor": self.ink, "titleColor": self.ink, "labelFontSize": 12, "titleFontSize": 13}
        return {
            "font": FONT,
            "view": {"stroke": None},
            "axis": {
                **text,
                "titleFontWeight": "normal",
                "gridColor": self.grid,
                "domainColor": self.muted,
                "tickColor": self.muted,
                "labelOverlap": "greedy",
                "titlePadding": 8,
            },
            "legend": {**text, "symbolSize": 90, "symbolStrokeWidth": 1, "titleFontWeight": "bold", "labelLimit": 0},
            "title": {
                "anchor": "start",
                "frame": "group",
                "color": self.ink,
                "fontSize": 16,
                "subtitleColor": self.muted,
                "subtitleFontSize": 11.5,
                "subtitlePadding": 5,
                "offset": 14,
            },
        }


LIGHT = Theme(
    background="#FFFFFF",
    ink="#1A1A1A",
    muted="#595959",
    grid="#E4E4E4",
    series=(BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE, "#1A1A1A"),
    parts=(BLUE, ORANGE, GREEN, SKY_BLUE, VERMILLION, PURPLE, YELLOW, "#9A9A9A"),
)
DARK = Theme(
    background="#14181F",
    ink="#EDEDED",
    muted="#A8B0BA",
    grid="#2C333D",
    series=(SKY_BLUE, VERMILLION, GREEN, PURPLE, ORANGE, BLUE, "#EDEDED"),
    parts=(SKY_BLUE, ORANGE, GREEN, BLUE, VERMILLION, PURPLE, YELLOW, "#7F8791"),
)


PAGE = Theme(
    background=None,
    ink="var(--ink)",
    muted="var(--muted)",
    grid="var(--grid)",
    series=tuple(f"var(--series-{at})" for at in range(len(LIGHT.series))),
    parts=tuple(f"var(--part-{at})" for at in range(len(LIGHT.parts))),
)
"""The colours as CSS variables, so that one drawing follows the reader's choice of light or dark."""


def style_sheet() -> str:
    """Return the values of these variables: light, and dark if the reader prefers it."""

    def variables(theme: Theme) -> str:
        colors = {"background": theme.background, "ink": theme.ink, "muted": theme.muted, "grid": theme.grid}
        colors |= {f"series-{at}": color for at, color in enumerate(theme.series)}
        colors |= {f"part-{at}": color for at, color in enumerate(theme.parts)}
        colors |= {f"on-part-{at}": theme.part_text_color(at) for at in range(len(theme.parts))}
        return "".join(f"--{name}:{color};" for name, color in colors.items())

    return f":root{{{variables(LIGHT)}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}\n"
