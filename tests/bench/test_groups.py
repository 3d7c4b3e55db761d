"""Groups of rows that share a process; and what becomes of a group whose process ends."""

# ruff: noqa: SIM300  expected == actual

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest
from common import collect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnbench.bench.case_trials import measure_alone
from mnbench.bench.groups import MAX_ROWS, group_rows
from mnbench.bench.trial import PlannedSession, ProcessError
from mnbench.errors import TrialError, UnreachableError
from mnbench.results.store import ResultsFile

CASES = ("first", "second", "third")


def session(size_bytes=1, process_key=()):
    """A session of that size."""
    return SimpleNamespace(size_bytes=size_bytes, process_key=process_key)


SESSIONS = st.builds(session, st.integers(0, 10), st.sampled_from([("a",), ("b",), ("c",)]))


@given(
    rows=st.lists(st.tuples(SESSIONS) | st.tuples(SESSIONS, SESSIONS), max_size=40),
    seed=st.text(max_size=3),
    max_rows=st.integers(1, 8),
    max_bytes=st.integers(1, 30),
)
def test_every_row_is_in_one_group_that_fits(rows, seed, max_rows, max_bytes):
    """Groups hold every row once, in order, of equal process keys; a row that is too large is alone."""
    numbered = list(enumerate(rows))
    groups = group_rows(numbered, lambda row: row[1], seed=seed, max_rows=max_rows, max_bytes=max_bytes)

    assert list(range(len(rows))) == sorted(index for group in groups for index, _ in group)
    for group in groups:
        assert group == sorted(group, key=lambda row: row[0])
        assert 1 == len({tuple(session.process_key for session in sessions) for _, sessions in group})
        assert len(group) <= max_rows
        size_bytes = sum(session.size_bytes for _, sessions in group for session in sessions)
        assert size_bytes <= max_bytes or len(group) == 1


@pytest.mark.parametrize(("rows", "groups"), [(1, [1]), (32, [32]), (33, [1, 32]), (91, [27, 32, 32])])
def test_groups_are_as_few_as_possible(rows, groups):
    """A group is filled before the next one begins."""
    sizes = [len(group) for group in group_rows(range(rows), lambda _: [session()], seed="0")]

    assert groups == sorted(sizes)
    assert MAX_ROWS == 32


def test_groups_are_drawn():
    """A seed gives the same groups, and another one others."""
    first, again, other = (
        group_rows(range(20), lambda _: [session()], seed=seed, max_rows=5) for seed in ("0/1", "0/1", "0/2")
    )

    assert first == again
    assert sorted(first) != sorted(other)


def test_a_session_is_as_large_as_its_weights_and_activations(make_cell, make_device):
    """Both count twice, and so do weights in files of their own; what is not known counts nothing."""
    facts = {"data": b"12345", "peak_activation_bytes": 7, "data_bytes": 100}
    sizes = [
        PlannedSession(case=make_cell(**facts | changes), device=make_device()).size_bytes
        for changes in ({}, {"data_bytes": 0}, {"peak_activation_bytes": None})
    ]

    assert [2 * 112, 2 * 12, 2 * 105] == sizes


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"threads": 2}, True),
        ({"options": {"a": "b"}}, True),
        ({"gateway": "popen//python=python3"}, False),
        ({"runtime": "openvino"}, False),
        ({"environment": {"PAGES": "huge"}}, False),
        ({"cores": (1,)}, False),
    ],
    ids=str,
)
def test_sessions_share_a_process_if_its_settings_are_equal(make_cell, make_device, change, shared):
    """The Python, the runtime, the variables and the cores are those of a process; other settings are a session's."""
    first, other = (
        PlannedSession(case=make_cell(), device=make_device(**changes)).process_key for changes in ({}, change)
    )

    assert shared == (first == other)


# The groups of a run


def groups_of_round(visit, number, cases):
    """The groups of one round, in which every case is measured."""
    measured, rounds = Counter(), []
    for group in visit.groups:
        index = measured[group[0]]
        measured.update(group)
        rounds += [[] for _ in range(index + 1 - len(rounds))]
        rounds[index].append(group)
    assert all(sorted(cases) == sorted(chain.from_iterable(groups)) for groups in rounds)
    return rounds[number]


def test_a_large_table_has_several_groups(make_plan, scripted_visit, store):
    """Of 40 cases, 32 share a process and eight another, not always the same."""
    names = [f"case{number}" for number in range(40)]
    plan, visit = make_plan(*names, processes=3), scripted_visit()
    collect(plan, store, store.open_run(plan.id), measure=visit)
    alone, *shared = (groups_of_round(visit, number, names) for number in range(3))

    assert [1] * 40 == [len(group) for group in alone]
    assert [[8, 32]] * 2 == [sorted(map(len, groups)) for groups in shared]
    assert set(map(frozenset, shared[0])) != set(map(frozenset, shared[1]))


def test_a_group_has_half_of_the_memory(make_plan, make_cell, make_sample, scripted_visit, store):
    """On a host with 1,000 bytes, two sessions of 200 bytes share a process, and not three."""
    cases = [make_cell(name, b"x" * 100, peak_activation_bytes=None) for name in "abcd"]
    sample = make_sample(host={"memory_bytes": 1000})
    plan, visit = make_plan(*cases, processes=2), scripted_visit(lambda *_: sample)
    collect(plan, store, store.open_run(plan.id), measure=visit)

    assert [[1] * 4, [2, 2]] == [[len(group) for group in groups_of_round(visit, number, "abcd")] for number in (0, 1)]


def test_an_emulated_device_measures_every_case_once_and_alone(make_plan, make_device, scripted_visit, store):
    """Minutes of a processor that is imitated are not worth a second process."""
    device = make_device(gateway="popen//python=/bin/qemu-aarch64 python3")
    visit, plan = scripted_visit(), make_plan(*CASES, device=device)
    plan = replace(plan, sampling=plan.sampling.for_emulator())
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert device.emulated
    assert sorted((name,) for name in CASES) == sorted(visit.groups)
    assert [(1, None)] * 3 == [(record.processes, record.error) for record in records]


def test_emulated_cases_are_alone_in_every_process(make_plan, make_device, scripted_visit, store):
    """Also where more processes are asked for."""
    device = make_device(gateway="popen//python=/bin/qemu-aarch64 python3")
    visit, plan = scripted_visit(), make_plan(*CASES, device=device, alone=0, processes=3)
    collect(plan, store, store.open_run(plan.id), measure=visit)

    assert Counter({(name,): 3 for name in CASES}) == Counter(visit.groups)


# A process that ends before its answer


def ending(scripted_visit, *, company=True, blamed=1):
    """A `measure` whose processes end if `second` runs there, with `company` only where others do; who is blamed."""

    def script(_plan, case, _before):
        together = len(visit.groups[-1]) > 1
        if case.variant == "second" and (together or not company):
            raise ProcessError(TrialError("killed", hint=""), blamed if together else 0)

    visit = scripted_visit(script)
    return visit


def test_a_case_that_ends_its_process_costs_itself_alone(make_plan, scripted_visit, store):
    """It is measured alone, fails there, and its group is measured again without it; nothing else is repeated."""
    visit = ending(scripted_visit, company=False)
    plan = make_plan(*CASES, processes=3, alone=0)
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert [CASES, ("second",)] + [("first", "third")] * 3 == visit.groups
    assert [(3, None), (0, "killed"), (3, None)] == [(record.processes, record.error) for record in records]


def test_a_case_that_ends_processes_of_several_is_alone_from_then_on(make_plan, scripted_visit, store):
    """Alone it runs, so it has its record, like the others."""
    visit = ending(scripted_visit)
    plan = make_plan(*CASES, processes=3, alone=0)
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert [CASES, ("second",), ("first", "third")] == visit.groups[:3]
    assert Counter({("first", "third"): 3, ("second",): 3, CASES: 1}) == Counter(visit.groups)
    assert [(3, None)] * 3 == [(record.processes, record.error) for record in records]


def test_where_no_case_is_to_blame_each_is_measured_alone(make_plan, scripted_visit, store):
    """A process that ended while it worked on none, such as at its end, has no suspect."""
    visit = ending(scripted_visit, blamed=None)
    plan = make_plan(*CASES, processes=2, alone=0)
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert Counter({CASES: 1} | {(name,): 2 for name in CASES}) == Counter(visit.groups)
    assert [(2, None)] * 3 == [(record.processes, record.error) for record in records]


def test_a_case_that_fails_beside_others_is_measured_alone(make_plan, scripted_visit, store):
    """A session may lack the memory that others hold: only a process of its own shows whether it runs."""

    def script(_plan, case, _before):
        if case.variant == "second" and len(visit.groups[-1]) > 1:
            raise TrialError("std::bad_alloc", hint="")

    visit = scripted_visit(script)
    plan = make_plan(*CASES, processes=3, alone=0)
    records = collect(plan, store, store.open_run(plan.id), measure=visit)

    assert [CASES, ("second",)] == visit.groups[:2]
    assert Counter({CASES: 1, ("first", "third"): 2, ("second",): 3}) == Counter(visit.groups)
    assert [(3, None)] * 3 == [(record.processes, record.error) for record in records]


def test_what_was_measured_after_a_crash_stays_if_the_device_is_lost(make_plan, scripted_visit, store):
    """Each process is stored when it ends, also where others of its group are still to come."""

    def script(_plan, case, _before):
        if len(visit.groups[-1]) == 3:
            raise ProcessError(TrialError("killed", hint=""), 1)
        if case.variant == "first":
            raise UnreachableError("gone", hint="")

    visit = scripted_visit(script)
    plan = make_plan(*CASES, processes=3, alone=0)
    with pytest.raises(UnreachableError):
        collect(plan, store, store.open_run(plan.id), measure=visit)

    assert ["second.0.npz"] == [path.name for path in store.raw_folder.glob("*/*.npz")]


NATURES = st.sampled_from(["good", "good", "ends every process", "ends processes of several", "fails beside others"])


@pytest.mark.slow
@given(
    natures=st.lists(NATURES, min_size=1, max_size=7),
    alone=st.integers(0, 2),
    blamed=st.lists(st.none() | st.integers(0, 6), max_size=6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_every_case_that_runs_alone_is_measured(make_plan, make_sample, natures, alone, blamed):
    """Whatever ends processes, and whichever case is blamed: a case that runs alone has all its trials, each once."""
    names = [f"case{number}" for number in range(len(natures))]
    nature_of, blames, trials = dict(zip(names, natures, strict=True)), iter(blamed), Counter()

    def measure(_plan, cases, _seed):
        kinds = [nature_of[case.variant] for case in cases]
        together = len(cases) > 1
        for index, kind in enumerate(kinds):
            if kind == "ends every process" or (kind == "ends processes of several" and together):
                blame = next(blames, index)
                raise ProcessError(TrialError("killed", hint=""), blame if blame is None else blame % len(cases))
        results = {}
        for case, kind in zip(cases, kinds, strict=True):
            fails = kind == "fails beside others" and together
            results[case.row.id] = TrialError("bad_alloc", hint="") if fails else make_sample()
            trials[case.variant] += not fails
        return results

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        store = ResultsFile(Path(folder), "cpu")
        plan = make_plan(*names, processes=3, alone=alone)
        records = collect(plan, store, store.open_run(plan.id), measure=measure)

    failing = {name for name in names if nature_of[name] == "ends every process"}
    assert names == [record.variant for record in records]
    assert failing == {record.variant for record in records if record.error}
    assert dict.fromkeys(set(names) - failing, 3) == +trials


# Real processes


KILLED_BY_SIGKILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
BESIDE_OTHERS = "import builtins; shared = getattr(builtins, 'others', 0)\nif shared: {}"
OTHER = "import builtins, time; builtins.others = 1; time.sleep(0.001)"


@pytest.mark.usefixtures("made_up_runtime")
def test_a_model_that_kills_its_process_costs_itself_alone(measure_codes):
    """Its process held two others, which are measured without it."""
    errors = measure_codes(KILLED_BY_SIGKILL, alone=0)

    assert {"first": None, "third": None} == {name: errors[name] for name in ("first", "third")}
    assert "SIGKILL" in errors["second"]


@pytest.mark.usefixtures("made_up_runtime")
@pytest.mark.parametrize(
    "code",
    [KILLED_BY_SIGKILL, "import time; time.sleep(60)", "raise MemoryError", "bytearray(2**62)"],
    ids=["kill", "hang", "raises", "memory"],
)
def test_a_model_that_fails_beside_others_alone_is_measured(measure_codes, code):
    """It has its figures from processes of its own."""
    errors = measure_codes(BESIDE_OTHERS.format(code), other=OTHER, alone=0, timeout_s=2.0)

    assert dict.fromkeys(CASES) == errors


@pytest.mark.usefixtures("made_up_runtime")
def test_a_model_runs_twice_in_an_emulator(make_plan, make_cell, tmp_path):
    """Once to open its session, and once with a clock: a run may take minutes."""
    code = f"open({str(tmp_path / 'runs')!r}, 'a').write('run ')"
    plan = make_plan(make_cell("first", code.encode()))
    trial = measure_alone(replace(plan, sampling=plan.sampling.for_emulator()), plan.cases[0])

    assert "run run " == (tmp_path / "runs").read_text()
    assert 1 == len(trial.latencies_ns)
