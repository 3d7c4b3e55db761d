"""Published figures beside ours."""

import pytest

from mnbench import families
from mnbench.errors import GraphFileError
from mnbench.network.published_figures import check_published, compare_printed
from mnbench.workspace import table_paths


@pytest.mark.parametrize(
    ("printed", "ours", "expected"),
    [
        ("569M", 568_740_352, "equal"),
        ("300M", 300_774_272, "truncated"),
        ("317M", 325_400_448, "disputed"),
        ("4.24M", 4_242_920, "equal"),
        ("4.24M", 4_231_976, "disputed"),
        ("3504872", 3_504_872, "equal"),
        ("3504872", 3_504_873, "disputed"),
        ("0.145B", 144_910_000, "equal"),
        ("7.5M", 7_450_000, "equal"),
        ("7.4M", 7_449_999, "equal"),
    ],
)
def test_verdict(printed, ours, expected):
    """Equal when rounded to the printed digits, truncated when cut off there, disputed otherwise."""
    assert compare_printed(printed, ours) == expected


@pytest.mark.parametrize("name", sorted(table_paths("graphs")))
def test_every_published_figure_fits_or_says_why_not(name):
    """Each figure is equal or truncated, or disputed with a reason; and each family has some."""
    figures = list(check_published(families.architecture(name)))
    assert figures
    assert all(bool(figure.reason) == (figure.verdict == "disputed") for figure in figures)
    assert all(figure.source for figure in figures)


@pytest.mark.parametrize("entry", ['mult_adds = "500M"', 'mult_adds = "569M"\ndisputed = { mult_adds = "it fits" }'])
def test_a_figure_without_reason_or_a_reason_without_cause_is_refused(tmp_path, entry):
    """A figure that does not fit needs a reason, and one that fits must not have one."""
    table = table_paths("graphs")["v1"].read_text(encoding="utf-8").partition("[[published]]")[0]
    path = tmp_path / "mine.toml"
    path.write_text(
        f'{table}[[published]]\nsource = "nowhere"\nalpha = 1.0\nresolution = 224\n{entry}\n', encoding="utf-8"
    )
    with pytest.raises(GraphFileError):
        list(check_published(families.architecture(str(path))))
