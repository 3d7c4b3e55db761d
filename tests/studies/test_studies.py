"""`mnbench study`: stacked blocks, the papers' claims as files, and what measurements say about them."""

# ruff: noqa: SIM300  expected == actual

import json
from functools import cache

import msgspec
import pytest

from mnbench import families
from mnbench.comparison.decide import Finding
from mnbench.errors import BuildError, GraphFileError, ResultsError, TomlError
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.network.cost import total_cost
from mnbench.network.network import build_network
from mnbench.network.variant import Variant
from mnbench.studies import claims, run_study
from mnbench.studies.study_file import read_study
from mnbench.studies.study_result import Evidence, combined_verdict, load_result
from mnbench.workspace import table_paths

STUDIES = sorted(table_paths("graphs/studies"))
GRAPHS = sorted(table_paths("graphs/study_networks"))

BLOCKS = """
family = "blocks"
name = "mine"
title = "Mine"
paper = "none"
table = "none"
batch_norm_epsilon = 1e-5
input = [8, 8]
times = 2
unit = "one"
rows = [{ type = "block", unit = "one", c = 8, layers = [LAYERS] }]
"""


def blocks(folder, layers):
    """A graph of one block with those layers."""
    path = folder / "mine.toml"
    path.write_text(BLOCKS.replace("LAYERS", layers), encoding="utf-8")
    return families.architecture(str(path))


@cache
def mult_adds(name):
    """The Mult-Adds of the variant of that name."""
    return total_cost(build_network(parse_variant(name)).layers).mult_adds


# Graphs


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_of_studies_are_no_others(name):
    """They are found by name, and no list and no run without a GRAPH has them."""
    assert name == families.architecture(name).name
    assert name not in table_paths("graphs")


@pytest.mark.parametrize("name", [n for n in GRAPHS if n.startswith("g")])
def test_blocks_as_onnx_have_the_layers_of_their_table(name):
    """Every form at a small α is built, simplified with proof, and costs what its table says."""
    table = families.architecture(name)
    for unit in table.option_values("unit"):
        variant = Variant(architecture=table, options={"unit": unit}, alpha=0.25, resolution=(8, 8))
        model = build_model(variant)
        cost, counted = total_cost(model.node_layers), total_cost(build_network(variant).layers)
        assert (counted.mult_adds, counted.memory_access) == (cost.mult_adds, cost.memory_access)
        assert variant == parse_variant(variant.name)


@pytest.mark.parametrize("name", ["g1", "g2", "g3", "g4"])
def test_rows_of_a_guideline_have_equal_mult_adds(name):
    """What is compared differs by 6 % at most, which is what the papers' rounding of widths leaves."""
    for claim in read_study(name).claims:
        base = read_study(name).row(claim.baseline)
        for row in map(read_study(name).row, claim.rows):
            for item, other in zip(row.variants, base.variants, strict=True):
                assert 1 == pytest.approx(mult_adds(item) / mult_adds(other), abs=0.06)


def test_printed_widths_are_used_wherever_groups_divide_them():
    """180 channels make no 8 groups; twice and four times as many do."""
    widths = [build_network(parse_variant(f"g2-8groups-a{alpha}-r56")).layers[0].output.shape[1] for alpha in (1, 2, 4)]
    assert [184, 360, 720] == widths


def test_what_mobilenet_v3_was_before():
    """The paper's 30 and 10 million Mult-Adds, counted."""
    now = mult_adds("v3-large-a1-r224")
    assert 34_333_376 == pytest.approx(mult_adds("v3-large-original-last-stage-a1-r224") - now, abs=50_000)
    assert 10_436_608 == pytest.approx(mult_adds("v3-large-wide-stem-a1-r224") - now, abs=5_000)


def test_where_h_swish_is():
    """Everywhere, from 80 channels on, or from 112 on; nothing else differs."""

    def kinds(name):
        layers = build_network(parse_variant(f"{name}-a1-r224")).layers
        return sum(layer.kind == "hard_swish" for layer in layers), len(layers)

    result = [kinds(f"v3-large{name}") for name in ("-h-swish-16", "", "-h-swish-112")]
    assert sorted({item for item, _ in result}, reverse=True) == [item for item, _ in result]
    assert 1 == len({layers for _, layers in result})


def test_a_block_must_take_what_it_puts_out(tmp_path):
    """Or it cannot be stacked."""
    with pytest.raises(GraphFileError, match="output 16 channels"):
        blocks(tmp_path, '{ type = "conv", c = 16 }')


def test_a_shortcut_needs_as_many_channels(tmp_path):
    """An addition of other channels cannot be built."""
    layers = '{ type = "conv", c = 16 }, { type = "add" }, { type = "conv", c = 8 }'
    with pytest.raises(GraphFileError, match="added to 16 channels"):
        blocks(tmp_path, layers)


def test_parallel_branches_are_added(tmp_path):
    """Two convolutions of the same input and one addition, in each of the two blocks."""
    table = blocks(tmp_path, '{ type = "parallel", n = 2, c = 8, relu = true }')
    kinds = [layer.kind for layer in build_network(Variant(architecture=table, resolution=(8, 8))).layers]
    assert [4, 2, 2] == [kinds.count(kind) for kind in ("conv", "add", "relu")]


def test_an_unknown_form_is_refused(tmp_path):
    """With those that there are."""
    table = blocks(tmp_path, '{ type = "conv", c = 8 }')
    with pytest.raises(BuildError) as refused:
        Variant(architecture=table, options={"unit": "two"}, resolution=(8, 8))
    assert "allowed values: one" == refused.value.hint


# Claims


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_names_variants_that_can_be_built(name):
    """Each variant of each row has layers."""
    for row in read_study(name).rows:
        assert all(map(mult_adds, row.variants))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('baseline = "thin"', 'baseline = "thick"', "no row 'thick'"),
        ("[66]", "[66, 67]", "2 entries for 1 columns"),
        ('quantity = "latency"', 'quantity = "speed"', "speed"),
        (", at_least = 1", "", "needs `at_least` or `at_most`"),
        ("at_least = 1", "at_least = 2", "either `at_least = 1` or `at_most = 1`"),
        ("at_least = 1", "at_least = 1, at_most = 1", "either `at_least = 1` or `at_most = 1`"),
        (', baseline = "thin"', "", "needs `baseline`"),
        ('quantity = "latency"', 'quantity = "time_share"', "needs `layer`"),
    ],
)
def test_a_wrong_study_is_refused(tmp_path, old, new, said):
    """A claim about no row, a figure too many, an unknown kind."""
    path = tmp_path / "mine.toml"
    text = """
title = "Mine"
paper = "none"
table = "none"
rows = [
  { label = "thin", variants = ["v1-a0.5-r96"], published = [59] },
  { label = "thick", variants = ["v1-a1-r96"], published = [66] },
]
claims = [{ quantity = "latency", says = "it is", rows = ["thick"], baseline = "thin", at_least = 1 }]
"""
    if new == 'baseline = "thick"':
        text = text.replace('label = "thick"', 'label = "wide"').replace('rows = ["thick"]', 'rows = ["wide"]')
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(TomlError, match=said):
        read_study(str(path))


# Verdicts


def findings(name, verdict, ratio=1.1):
    """One finding for each comparison of a study."""
    pairs = run_study.required_pairs(read_study(name))
    item = Finding(variant="", device="cpu", verdict=verdict, ratio=ratio, low=ratio, high=ratio, processes=4)
    return dict.fromkeys(pairs, item)


@pytest.mark.parametrize(
    ("verdict", "slower", "not_slower"),
    [
        ("slower", "holds", "does not hold"),
        ("faster", "does not hold", "holds"),
        ("same", "does not hold", "holds"),
        ("inconclusive", "inconclusive", "inconclusive"),
        ("missing", "inconclusive", "inconclusive"),
    ],
)
def test_what_a_comparison_means(verdict, slower, not_slower):
    """For a claim that a row takes longer, and for one that it does not."""
    for name, expected in (("stem", slower), ("thin", not_slower)):
        claim = read_study(name).claims[-1]
        result = claims.judge_claim(claim, claims.latency_evidence(claim, read_study(name), findings(name, verdict)))
        assert expected == result.verdict


def test_the_papers_ratio_is_of_times():
    """Images a second are turned round; milliseconds are not."""
    series, _ = read_study("g3").claims
    evidence = claims.latency_evidence(series, read_study("g3"), findings("g3", "slower"))
    assert pytest.approx(40.2 / 38.6) == evidence[0].published
    _, slower = read_study("last-stage").claims
    (item,) = claims.latency_evidence(slower, read_study("last-stage"), findings("last-stage", "slower"))
    assert pytest.approx(66 / 59) == item.published


def test_where_the_paper_prints_no_difference_nothing_counts():
    """Table 3 has the same figure for fragments in series in three places."""
    series, _ = read_study("g3").claims
    result = claims.judge_claim(series, claims.latency_evidence(series, read_study("g3"), findings("g3", "slower")))
    assert 3 == sum(not item.counted for item in result.evidence)
    assert "3 of 3 comparisons are as claimed" == result.reason


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "inconclusive"], "inconclusive"),
        (["holds", "inconclusive", "does not hold"], "does not hold"),
        ([], "inconclusive"),
    ],
)
def test_one_contradiction_decides(verdicts, expected):
    """All must hold; nothing proves nothing."""
    assert expected == combined_verdict(verdicts)


@pytest.mark.parametrize(
    ("name", "saved", "expected"),
    [
        ("last-stage", 34.3, "holds"),
        ("last-stage", 35.1, "does not hold"),
        ("stem", 10.4, "holds"),
        ("stem", 4.9, "does not hold"),
    ],
)
def test_counted_mult_adds_need_no_interval(name, saved, expected):
    """What rounds to the printed number of the paper lies within the bounds of the file."""
    claim = read_study(name).claims[0]
    values = {claim.baseline: [216_589_760], claim.rows[0]: [216_589_760 + saved * 1e6]}
    (evidence,) = claims.value_evidence(claim, read_study(name), values)
    assert (expected, f"{saved}M more, counted") == (evidence.verdict, evidence.reason)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.95, 0.951, 0.949, 0.946, 0.95, 0.95], "holds"),
        ([0.87, 0.88, 0.88, 0.87, 0.88, 0.87], "does not hold"),
        ([0.94, 0.95, 0.95, 0.95, 0.95, 0.95], "inconclusive"),
        ([0.99, 0.99, 0.99], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_a_share_of_the_time(shares, expected):
    """The interval of six processes' median lies above 94.5 %, below, or astride; three are too few."""
    (claim,) = read_study("pointwise").claims
    (evidence,) = claims.value_evidence(claim, read_study("pointwise"), {"MobileNet": shares})
    assert (expected, 0.95, "Conv 1×1") == (evidence.verdict, evidence.published, evidence.than)


@pytest.mark.parametrize(
    ("samples", "others", "expected"),
    [
        ([10, 11, 10, 11, 10, 11], [12, 13, 12, 13, 12, 13], "holds"),
        ([12, 13, 12, 13, 12, 13], [10, 11, 10, 11, 10, 11], "does not hold"),
        ([10, 13, 10, 13, 10, 13], [11, 12, 11, 12, 11, 12], "inconclusive"),
        ([10, 11], [20, 21], "inconclusive"),
        ([], [20, 21], "inconclusive"),
    ],
)
def test_memory(samples, others, expected):
    """Intervals that do not meet decide."""
    claim = read_study("memory").claims[0]
    values = {"MobileNet V2": samples, "MobileNet V1": others}
    (evidence,) = claims.value_evidence(claim, read_study("memory"), values)
    assert (expected, 4) == (evidence.verdict, evidence.published)


# The command


def test_study_lists_what_there_is(invoke):
    """Without a name, every study with its claims; nothing has been found yet."""
    result = json.loads(invoke("study", "--format", "json").stdout)["studies"]
    assert STUDIES == [item["study"] for item in result]
    assert all(item["claims"] and item["verdict"] is None for item in result)
    assert all(name in invoke("study").stdout for name in STUDIES)


def test_an_unknown_study_is_an_error_with_a_hint(invoke):
    """It names those that there are."""
    result = invoke("study", "g5")
    assert (1, True, True) == (result.exit_code, "unknown study" in result.stderr, "g1" in result.stderr)


def test_what_was_never_measured_cannot_be_shown(invoke):
    """One line, and the command that measures it."""
    result = invoke("study", "g1", "--kept")
    assert (1, True) == (result.exit_code, "Hint: measure it: mnbench study g1" in result.stderr)


@pytest.mark.slow
def test_a_study_without_time_cannot_tell(invoke, workspace):
    """What is counted is judged all the same; the result is kept, and shown again."""
    first = invoke("study", "stem", "--budget", "1ms", "--format", "json")
    (result,) = json.loads(first.stdout)["studies"]
    assert ["holds", "inconclusive"] == [claim["verdict"] for claim in result["claims"]]
    assert "stem" == load_result(workspace / "results", "cpu", "stem").study
    assert first.stdout == invoke("study", "stem", "--kept", "--format", "json").stdout
    assert "INCONCLUSIVE" in invoke("study", "stem", "--kept").stdout
    listed = json.loads(invoke("study", "--format", "json").stdout)["studies"]
    assert ["inconclusive"] == [item["verdict"] for item in listed if item["study"] == "stem"]


@pytest.mark.slow
def test_a_study_of_ones_own(invoke, workspace):
    """Real processes: V1 at a quarter of its width takes less time, and many times fewer Mult-Adds."""
    (workspace / "mine.toml").write_text(
        """
title = "Mine"
paper = "none"
table = "none"
rows = [
  { label = "half", variants = ["v1-a0.25-r64"] },
  { label = "whole", variants = ["v1-a1-r64"] },
]
claims = [
  { quantity = "latency", says = "the whole takes longer", rows = ["whole"], baseline = "half", at_least = 1 },
  { quantity = "latency", says = "the whole takes no longer", rows = ["whole"], baseline = "half", at_most = 1 },
  { quantity = "time_share", says = "half of it all", rows = ["half"], layer = "Conv 1×1", at_least = 0.01 },
  { quantity = "mult_adds", says = "much less", rows = ["whole"], baseline = "half", at_least = 10, at_most = 20 },
]
""",
        encoding="utf-8",
    )
    result = invoke("study", "mine.toml", "--allow", "busy", "--budget", "60s", "--format", "json")
    (result,) = json.loads(result.stdout)["studies"]
    assert ["holds", "does not hold", "holds", "holds"] == [claim["verdict"] for claim in result["claims"]]
    assert all(figure["latency_ns"] for figure in result["figures"])


def test_a_broken_result_is_one_line(workspace):
    """With what to do."""
    path = workspace / "results" / "studies" / "cpu" / "g1.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match="cannot be read"):
        load_result(workspace / "results", "cpu", "g1")


def test_evidence_survives_json():
    """What is written is what is read."""
    item = Evidence(label="a", than="b", ratio=1.5, verdict="holds", counted=False)
    assert item == msgspec.json.decode(msgspec.json.encode(item), type=Evidence)
