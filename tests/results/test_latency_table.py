"""The latency table: its rows, its columns, and the room they take."""

# ruff: noqa: SIM300  expected == actual

import json

import msgspec
import pytest
from common import RECORD, csv_rows, misfits, pipe_rows
from hosts import QUIET
from rich.console import Console

from mnbench.results.latency_table import explain, latency_table, newest_records
from mnbench.results.record import FedInput, Issue
from mnbench.results.store import ResultsFile
from mnbench.tables import rich_text

PAPER = [(alpha, side) for alpha in (1.0, 0.75, 0.5, 0.25) for side in (224, 192, 160, 128)]


def at_width(width, records):
    """The lines that a terminal of that width shows of a latency table."""
    terminal = Console(width=width, force_terminal=True, color_system=None)
    return rich_text.render(latency_table(records), console=terminal).splitlines()


# table


def test_table_json_holds_the_contract(invoke, stored):
    """`table --format json` has every key of a record, in the order of the paper's tables."""
    result = invoke("table", "--format", "json")
    payload = json.loads(result.stdout)

    assert ["records"] == list(payload)
    assert [] == [misfit for record in payload["records"] for misfit in misfits(record, RECORD)]
    assert [1, 0.5, 0.25] == [record["alpha"] for record in payload["records"]]
    assert len(stored) == len(payload["records"])
    assert "" == result.stderr


def test_table_shows_the_newest_record_of_a_cell(invoke, workspace, stored, make_record):
    """A cell measured twice has one row: the newer."""
    ResultsFile(workspace / "results", "cpu").append(make_record(1.0, 224, 8_000_000))
    payload = json.loads(invoke("table", "--format", "json").stdout)

    assert 8_000_000 == payload["records"][0]["latency_ns"]["median"]
    assert len(stored) == len(payload["records"])


@pytest.mark.usefixtures("stored")
def test_table_columns_are_those_asked_for_in_that_order(invoke):
    """`--columns` chooses and orders the columns."""
    rows = csv_rows(invoke("table", "--columns", "latency_ns, variant", "--format", "csv").stdout)

    assert ["latency_ns", "variant"] == list(rows[0])
    assert {"latency_ns": "9000000", "variant": "v1-a1-r224"} == rows[0]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("sort", "expected"),
    [("latency_ns", [0.25, 0.5, 1]), ("-latency_ns", [1, 0.5, 0.25]), ("variant", [0.25, 0.5, 1])],
)
def test_table_sorts(invoke, sort, expected):
    """`--sort COLUMN` puts the smallest first, `-COLUMN` the largest."""
    payload = json.loads(invoke("table", "--sort", sort, "--format", "json").stdout)

    assert expected == [record["alpha"] for record in payload["records"]]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("sort", ["latency_ns", "-latency_ns"])
def test_table_sorts_cells_without_a_value_last(invoke, workspace, make_record, sort):
    """A failed cell comes last, whichever way the others are sorted."""
    failed = make_record(0.75, 192, latency_ns=None, error="the worker was killed by SIGSEGV")
    ResultsFile(workspace / "results", "cpu").append(failed)
    payload = json.loads(invoke("table", "--sort", sort, "--format", "json").stdout)

    assert 0.75 == payload["records"][-1]["alpha"]


@pytest.mark.usefixtures("stored")
def test_table_prints_md_csv_and_rich(invoke):
    """The results print as a pipe table, as base units and as a table for people."""
    _, _, *pipes = pipe_rows(invoke("table", "--format", "md").stdout)
    rows = csv_rows(invoke("table", "--format", "csv").stdout)
    shown = invoke("table").stdout

    assert [["v1", "1", "224"], ["v1", "0.5", "160"], ["v1", "0.25", "128"]] == [row[:3] for row in pipes]
    assert ["9000000", "2000000", "300000"] == [row["latency_ns"] for row in rows]
    assert ["9.00", "2.00", "0.300"] == [line.split()[6] for line in shown.splitlines() if line.startswith("v1 ")]


@pytest.mark.usefixtures("stored")
def test_table_of_a_device(invoke, workspace, make_record):
    """Devices named choose among the results; without a name all are shown."""
    ResultsFile(workspace / "results", "gpu").append(make_record(device="gpu"))
    devices = {
        names: [
            record["device"] for record in json.loads(invoke("table", *names, "--format", "json").stdout)["records"]
        ]
        for names in ((), ("gpu",), ("cpu", "gpu"))
    }

    assert {(): ["cpu"] * 3 + ["gpu"], ("gpu",): ["gpu"], ("cpu", "gpu"): ["cpu"] * 3 + ["gpu"]} == devices


def test_precisions_show_what_they_lose(invoke, workspace, make_record):
    """Where a row is fp16 or int8, the table has the difference of the outputs, and says what it is."""
    store = ResultsFile(workspace / "results", "cpu")
    store.append(make_record())
    assert "difference" not in invoke("table").stdout
    store.append(make_record(0.5, precision="int8", variant="v1-a0.5-r224-int8", difference=0.37))
    _, _, *pipes = pipe_rows(invoke("table", "--format", "md").stdout)

    assert ["1.0e-06", "3.7e-01"] == [row[-1] for row in pipes]
    assert "difference: the largest from onnxruntime's CPU provider in fp32" in invoke("table").stdout


def test_outputs_that_were_not_compared_are_named(make_record):
    """A note names the first with its reason, and how many more there are."""
    reasons = ("output `z` depends on Bernoulli `b`", "output `s` is of type sequence")
    notes = [latency_table([make_record(not_compared=reasons[:count])]).notes for count in range(3)]
    named = [[note for note in lines if "not compared" in note] for lines in notes]

    assert [[], [1], [1]] == [[note.count(reasons[0]) for note in lines] for lines in named]
    assert named[2][0].endswith(", and 1 more")


def test_a_failed_or_untrusted_latency_is_marked(invoke, workspace, make_record):
    """A cell without latency says `failed`, one with an issue has an exclamation mark, and notes say why."""
    store = ResultsFile(workspace / "results", "cpu")
    store.append(make_record(0.5, 160, latency_ns=None, error="no answer"))
    store.append(make_record(issues=(Issue(name="noisy", advice="end other load"),)))
    shown = invoke("table").stdout

    assert "10.0 !" in shown
    assert " failed " in shown
    assert "v1-a0.5-r160 failed: no answer" in shown
    assert "! v1-a1-r224 is noisy: end other load" in shown


# How wide tables are


def paper_records(make_record, **changes):
    """The sixteen networks, with latencies as a fast machine has them."""
    return [make_record(alpha, side, int(12.3e6 * alpha**2 * (side / 224) ** 2), **changes) for alpha, side in PAPER]


def test_the_latency_table_fits_100_columns(make_record):
    """All columns of the sixteen networks but the 90th percentile fit 100 columns, and none is cut."""
    lines = at_width(100, paper_records(make_record))

    assert max(map(len, lines)) <= 100
    assert "no room for p90_ns" == lines[-1].strip()
    assert [] == [line for line in lines if "…" in line]
    assert 16 == sum(line.startswith("v1 ") for line in lines)


def test_the_latency_table_drops_columns_on_80_columns_and_says_so(make_record):
    """At 80 columns the least important columns go, a note names them, and what stays is whole."""
    lines = at_width(80, paper_records(make_record))

    assert max(map(len, lines)) <= 80
    assert "no room for p90_ns, params, placed, mult_adds_per_s" == lines[-1].strip()
    assert [] == [line for line in lines if "…" in line]
    assert 16 == sum(line.startswith("v1 ") for line in lines)
    words = ("placed", "p90", "undisturbed", "latency")
    assert ["placed", "p90"] == [word for word in words if word not in " ".join(lines[:6])]


def test_the_undisturbed_latency_of_older_records(make_record):
    """A dash where a record lacks it; no column where all do."""
    new = make_record()
    old = make_record(0.5, latency_ns=msgspec.structs.replace(new.latency_ns, undisturbed=None))
    mixed, older = ("\n".join(at_width(200, records)) for records in ([new, old], [old]))
    _, _, *rows = pipe_rows(latency_table([new, old], ["undisturbed_ns"]).to("markdown"))

    assert [["9.40"], ["–"]] == rows
    assert "undisturbed: mean of each process's fastest run" in mixed
    assert "undisturbed" not in older


@pytest.mark.parametrize("median", [66_900, 98_700_000, 1_234_000_000], ids=["67 us", "99 ms", "1.2 s"])
def test_no_latency_is_cut_on_80_columns(make_record, median):
    """From microseconds to seconds, marked as noisy, every latency and its interval stay readable at 80 columns."""
    issues = (Issue(name="noisy", advice="end other load"),)
    records = [make_record(0.25, side, median, issues=issues, mult_adds=1_100_000) for side in (224, 32)]
    lines = at_width(80, records)

    assert max(map(len, lines)) <= 80
    assert [] == [line for line in lines if "…" in line]
    assert 2 == sum(" ! " in line for line in lines if line.startswith("v1 "))


@pytest.mark.parametrize(
    ("name", "few", "many"),
    [("outliers", "has outliers", "5 rows have outliers"), ("short", "is short", "5 rows are short")],
)
def test_an_issue_is_a_sentence(make_record, name, few, many):
    """A row has outliers, and is short."""
    records = [make_record(0.25, 32 * n, issues=(Issue(name=name, advice="why"),)) for n in range(1, 6)]

    assert [f"! v1-a0.25-r32 {few}: why"] == explain(records[:1], ())[-1:]
    assert [f"! {many}, such as v1-a0.25-r32: why"] == explain(records, ())[-1:]


def wide(record, share, advice="why"):
    """An imprecise record whose interval reaches that share above its median."""
    latency = msgspec.structs.replace(record.latency_ns, high=round(record.latency_ns.median * (1 + share)))
    issues = (Issue(name="imprecise", advice=advice), Issue(name="noisy", advice="end other load"))
    return msgspec.structs.replace(record, latency_ns=latency, issues=issues)


def targeted(make_record, target=0.04, count=16):
    """Precise records that were measured for this target."""
    return [make_record(alpha, side, precision_target=target) for alpha, side in PAPER[:count]]


def test_a_line_says_how_many_rows_are_precise_and_which_is_the_widest(make_record):
    """It stands for the lines of all imprecise rows; the lines of other issues stay."""
    records = targeted(make_record)
    assert "16 of 16 rows are within ±4%" == explain(records, ())[-1]
    records[3], records[5] = wide(records[3], 0.05), wide(records[5], 0.31)
    *_, line, _, _ = lines = explain(records, ())

    assert "≈ 14 of 16 rows are within ±4%; the widest is v1-a0.75-r192: ±31.0%. Raise --budget to narrow it" == line
    assert ["! v1-a1-r128 is noisy: end other load", "! v1-a0.75-r192 is noisy: end other load"] == lines[-2:]
    assert [] == [text for text in lines if "imprecise" in text]


def test_rows_of_one_process_or_too_few_say_so(make_record):
    """Their interval does not say why they are imprecise: there is none, or it is within the target by chance."""
    records = targeted(make_record, count=3)
    records[2] = wide(records[2], 0.01, "only 3 of 6 processes were within the budget")
    few = "the widest is v1-a1-r160: only 3 of 6 processes were within the budget"
    assert f"≈ 2 of 3 rows are within ±4%; {few}" == explain(records, ())[-2]
    records[0] = wide(records[0], 0.0, "one process gives no interval")
    latency = msgspec.structs.replace(records[0].latency_ns, coverage=0.0)
    records[0] = msgspec.structs.replace(records[0], latency_ns=latency)

    assert "≈ 1 of 3 rows are within ±4%; the widest is v1-a1-r224: one process gives no interval" in explain(
        records, ()
    )


def test_each_target_has_a_line_of_its_own(make_record):
    """Old records that did not store it, and the only row of a target, have lines of their own, as one row has."""
    old, alone = wide(make_record(0.5, 96, variant="old"), 0.5), wide(make_record(0.5, 64, precision_target=0.01), 0.5)
    lines = explain([*targeted(make_record, 0.04, 3), *targeted(make_record, 0.005, 2), old, alone], ())

    assert ["3 of 3 rows are within ±4%", "2 of 2 rows are within ±0.5%"] == [
        line for line in lines if "within" in line
    ]
    assert ["≈ old is imprecise: why", "≈ v1-a0.5-r64 is imprecise: why"] == [line for line in lines if "≈" in line]


def test_rows_without_a_latency_are_not_counted(make_record):
    """A failed row has its error, and an emulated one has no time."""
    failed = make_record(0.25, 32, precision_target=0.04, latency_ns=None, error="it crashed")
    assert "2 of 2 rows are within ±4%" in explain([*targeted(make_record, count=2), failed], ())


def test_a_calibrated_interval_is_wider_than_the_target(make_record):
    """The target is of the run alone, and the line says so."""
    records = targeted(make_record, count=2)
    latency = msgspec.structs.replace(records[0].latency_ns, low_with_drift=8_000_000, high_with_drift=12_000_000)
    records[0] = msgspec.structs.replace(records[0], latency_ns=latency)
    assert "2 of 2 rows are within ±4%, drift left out" in explain(records, ())


@pytest.mark.parametrize("column", ["first_run_ns", "session_ns", "peak_rss_bytes"])
def test_a_note_says_why_a_case_has_no_session_creation(make_record, column):
    """A case that was never alone in a process does not have it; the note is there where the column is."""
    shared = make_record(first_run_ns=None, session_ns=None, peak_rss_bytes=None)
    explained = {name: "alone in a process" in " ".join(explain([shared], (name,))) for name in (column, "latency_ns")}

    assert {column: True, "latency_ns": False} == explained
    assert "alone" not in " ".join(explain([make_record()], (column,)))


def test_no_number_is_cut_where_rows_have_hosts_and_inputs(make_record):
    """At 80 columns names and hosts are shortened, then memory access and inputs make room; no number is cut."""
    fed = FedInput(name="x", type="float32", shape=(1, 512), values="normal", sha256="")
    hosts = [QUIET | {"cores": cores, "cpu": "AMD EPYC 7763"} for cores in (4, 8)]
    records = [
        make_record(
            None,
            architecture=None,
            variant="a_long_name_of_speech",
            inputs=(fed,),
            precision=precision,
            batch=2,
            host=host,
        )
        for host in hosts
        for precision in ("fp32", "int8")
    ]
    lines = at_width(80, records)

    assert max(map(len, lines)) <= 80
    assert 4 == sum("9.70–10.4" in line and "10.0" in line for line in lines)
    assert 4 == sum("EPYC" in line for line in lines if "9.70" in line)


@pytest.mark.parametrize("width", [100, 80])
def test_the_table_of_a_long_file_name_fits(make_record, width):
    """A user's own file with a long name takes its room from columns that matter less, or is shortened itself."""
    record = make_record(
        architecture=None, alpha=None, variant="mobilenet_v3_large_100_ra-f55367f5_simplified", resolution=(224, 224)
    )
    lines = at_width(width, [record])

    assert max(map(len, lines)) <= width
    assert 1 == sum("10.0" in line and "9.70–10.4" in line for line in lines)


def test_every_table_fits_100_columns_when_piped(invoke):
    """What is piped is at most 100 columns wide, whatever the terminal."""
    for arguments in (
        ("cost", "v1", "--layers"),
        ("cost", "v1", "--types"),
        ("cost", "v1", "--alpha", "0.333", "--res", "240x320"),
        ("graphs",),
        ("graphs", "show", "v1"),
        ("devices",),
        ("devices", "show", "cpu"),
    ):
        lines = invoke(*arguments).stdout.splitlines()
        assert (arguments, True) == (arguments, max(map(len, lines)) <= 100)


# The newest records


@pytest.mark.parametrize("words", [(), ("--beside",)], ids=["table", "beside"])
def test_rows_that_look_alike_bear_their_variants_name(invoke, workspace, make_record, words):
    """ShuffleNets of several groups are told apart; what α and size tell apart has graph, α and size."""
    names = ("shufflenet-v1-a1-r224", "shufflenet-v1-g8-a1-r224")
    for name in names:
        ResultsFile(workspace / "results", "cpu").append(make_record(variant=name, architecture="shufflenet-v1"))
    head, _, *rows = pipe_rows(invoke("table", *words, "--format", "md").stdout)
    other, _, item = pipe_rows(invoke("table", *words, "--format", "md", "--where", "variant=*-g8-*").stdout)

    assert ("variant", *names) == (head[0], *(row[0] for row in rows))
    assert "α" not in head
    assert (["graph", "α"], ["shufflenet-v1", "1"]) == (other[:2], item[:2])


def test_latest_keeps_the_newest_of_each_cell(make_record):
    """Of records of one cell the last counts; another host, runtime version, threads or device is another cell."""
    old, new = make_record(median=1), make_record(median=2)
    others = [
        make_record(device="gpu"),
        make_record(threads=2),
        make_record(host={"cpu": "another"}),
        make_record(runtime=msgspec.structs.replace(old.runtime, version="2.0")),
        make_record(architecture=None),
    ]
    records = newest_records([old, *others, new])

    assert 1 + len(others) == len(records)
    assert new in records
    assert old not in records


def test_latest_is_sorted_as_the_papers_tables(make_record):
    """By device, then graph, then falling α and resolution."""
    records = [
        make_record(alpha, side, device=device)
        for device in ("gpu", "cpu")
        for alpha, side in ((0.5, 224), (1.0, 128), (1.0, 224))
    ]

    assert [
        (device, alpha, (side, side))
        for device in ("cpu", "gpu")
        for alpha, side in ((1.0, 224), (1.0, 128), (0.5, 224))
    ] == [(record.device, record.alpha, record.resolution) for record in newest_records(records)]


def test_latest_of_files_without_alpha(make_record):
    """A user's own files, with neither α nor resolution, have their place too."""
    user_record = make_record(None, variant="own", architecture=None, resolution=None)

    assert [user_record, make_record()] == newest_records([make_record(), user_record])


def test_a_long_table_goes_on_as_it_began(make_record):
    """Behind the rows that rich lays out, the others stand in the same columns."""
    records = [make_record(1.0, 32 + at, 1_000_000 + at, id=f"run/{at}") for at in range(502)]
    lines = [line.rstrip() for line in at_width(120, records) if line.startswith("v1 ")]

    assert 502 == len(lines)
    assert lines[0].replace("32", "533", 1).split()[:2] == lines[501].split()[:2]
    assert 1 == len({line.index("1.00") for line in lines})
