"""Two hosts of one CPU name in a file of results: every command that reads results is of one of them, or says both."""

import json
from collections import Counter

import msgspec
import numpy as np
import pytest
from common import csv_rows
from hosts import QUIET

from mnbench.analysis.history import load_histories
from mnbench.network.row import Row
from mnbench.results.host_selection import select_hosts
from mnbench.results.layer_profile import LayerProfile, LayerTime
from mnbench.results.results import load_results
from mnbench.results.store import ResultsFile

OLD, NEW = QUIET | {"cores": 4}, QUIET | {"cores": 8}
SIDES = (224, 192, 160, 128)
ALPHAS = (1.0, 0.5)


@pytest.fixture
def two_hosts(workspace, make_record):
    """Eight rows of an old host, four of them again on a new one, which is twice as fast; with profiles and samples."""
    store = ResultsFile(workspace / "results", "cpu")
    for host, day, sides in ((OLD, 1, SIDES), (NEW, 2, SIDES[:2])):
        for alpha in ALPHAS:
            for side in sides:
                run = f"2026010{day}T000000-run"
                median = round(alpha * side**2 * 200) // day
                record = make_record(alpha, side, median, host=host, run=run, mult_adds=round(alpha * side**2 * 1e4))
                record = msgspec.structs.replace(
                    record, id=f"{run}/{record.variant}", measured_at=f"2026-01-0{day}T00:00:00+00:00"
                )
                store.append(record)
                _store_raw(store, record)
    return store


def _store_raw(store, record):
    folder = store.raw_folder / record.run
    folder.mkdir(parents=True, exist_ok=True)
    latencies_ns = record.latency_ns.median + np.arange(100)
    np.savez(folder / f"{record.variant}.0.npz", latencies_ns=latencies_ns)
    profile = LayerProfile(
        variant=record.variant,
        row=Row(record.variant, record.architecture),
        host_identity=record.host_identity,
        device="cpu",
        provider=record.provider,
        runtime="onnxruntime 1.2.3",
        threads=1,
        measured_at=record.measured_at,
        runs=50,
        latency_ns=record.latency_ns.median,
        parts=(LayerTime(scope="conv", type="Conv 1×1"),),
    )
    (folder / f"{record.variant}.profile.json").write_bytes(msgspec.json.encode(profile))


def hosts_of(store):
    """The labels of the old and the new host."""
    old, *_, new = (str(record.host_identity) for record in store.read_records())
    return old, new


COMMANDS = {
    "table": ["table"],
    "markdown": ["table", "--format", "md"],
    "csv": ["table", "--format", "csv"],
    "beside": ["table", "--beside"],
    "ratio": ["table", "--ratio", "v1-a1-r224"],
    "history": ["table", "--history"],
    "pick": ["pick", "--budget", "1s"],
    "predict": ["predict"],
    "profile": ["profile"],
    "plot": ["plot", "mult-adds"],
    "distribution": ["plot", "distribution"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_shows_the_newest_host_and_says_so(invoke, two_hosts, command):
    """The other host's rows are counted and named; `--host` shows them, or both with the host beside each row."""
    old, new = hosts_of(two_hosts)
    env = {"COLUMNS": "250"}

    def output(*more):
        result = invoke(*command, *more, env=env)
        assert result.exit_code == 0, result.stderr
        text = " ".join(f"{result.stdout} {result.stderr}".split())
        return text, text.partition("left out")[0].rpartition("other host")[0] or text

    newest, _ = output()
    assert f"8 rows of 1 other host are left out: {old}. Show them with --host all" in newest
    assert old not in newest.partition("8 rows of 1 other")[0]
    assert "v1-a0.5-r128" not in newest
    named, _ = output("--host", old)
    assert f"4 rows of 1 other host are left out: {new}" in named
    assert named == output("--host", old.rpartition("#")[2])[0]
    everything, _ = output("--host", "all")
    assert "left out" not in everything
    if command[0] != "table" or "csv" in command or "--history" in command:
        assert {old, new} <= {host for host in (old, new) if host in everything}


def test_a_table_of_both_hosts_has_a_host_column(invoke, two_hosts):
    """So has a file for a spreadsheet, and one for a service names the host of each row."""
    old, new = hosts_of(two_hosts)
    rows = csv_rows(invoke("table", "--host", "all", "--format", "csv").stdout)
    assert {old: 8, new: 4} == Counter(row["host"] for row in rows)
    assert "host" not in csv_rows(invoke("table", "--format", "csv").stdout)[0]
    assert invoke("table", "--host", "all", "--report", "bencher=b.json").exit_code == 0
    names = json.loads((two_hosts.folder.parent / "b.json").read_text(encoding="utf-8"))
    assert len(names) == 12


@pytest.mark.parametrize("command", [*COMMANDS.values(), ["report"], ["gate", "results/cpu.jsonl"]])
def test_an_unknown_host_is_refused_with_those_that_are_known(invoke, two_hosts, command):
    """One line and a hint; nothing is written."""
    result = invoke(*command, "--host", "abacus")
    known = "; ".join(hosts_of(two_hosts))
    assert (1, "Error: no results are of host abacus", f"Hint: known: {known}; or all") == (
        result.exit_code,
        *result.stderr.splitlines()[-2:],
    )


@pytest.mark.slow
def test_a_report_has_no_row_of_another_host(invoke, two_hosts):
    """With `all`, each host has its own plots."""
    pytest.importorskip("vl_convert")
    old, new = hosts_of(two_hosts)
    pages = {}
    for host in (None, "all"):
        assert invoke("report", *(["--host", host] if host else [])).exit_code == 0
        pages[host] = (two_hosts.folder.parent / "report.html").read_text(encoding="utf-8")
    assert 'data-variant="v1-a0.5-r128"' not in pages[None]
    assert f"8 rows of 1 other host are left out: {old}" in pages[None]
    assert [page.count('<section id="device-cpu') for page in pages.values()] == [1, 2]
    assert all(f"<h2>cpu on {host}</h2>" in pages["all"] for host in (old, new))


def test_what_a_run_writes_is_of_its_own_host(invoke, fake_worker, two_hosts):
    """The table beside the records says what it leaves out."""
    assert invoke("run", "v1", "--alpha", "0.25", "--res", "32", "--processes", "2").exit_code == 0
    text = (two_hosts.folder / "cpu.md").read_text(encoding="utf-8")
    assert "| v1 | 0.25 | 32 |" in " ".join(text.split())
    assert "12 rows of 2 other hosts are left out" in text
    assert fake_worker.requests


def test_python_reads_one_host_too(two_hosts):
    """And all, if they are asked for."""
    old, _ = hosts_of(two_hosts)
    folder = two_hosts.folder
    assert [
        len(load_results(folder, **options)) for options in ({}, {"host": old}, {"host": "all"}, {"newest": False})
    ] == [4, 8, 12, 4]
    assert any("left out" in note for note in load_results(folder).table().notes)
    assert len({history.newest.host_identity for history in load_histories([two_hosts], "all").rows}) == 2


def test_a_row_that_failed_before_anything_ran_belongs_to_every_host(make_record):
    """It hides no other row, though it is the newest."""
    failed = make_record(host={}, latency_ns=None, error="no", measured_at="2027-01-01T00:00:00+00:00")
    record = make_record(host=OLD)
    assert [record, failed] == select_hosts([record, failed]).items


def test_each_device_has_its_own_newest_host(make_record):
    """A board and this machine are two hosts, and none hides the other."""
    records = [make_record(host=OLD), make_record(host=NEW, device="board", measured_at="2027-01-01T00:00:00+00:00")]
    assert records == select_hosts(records).items
