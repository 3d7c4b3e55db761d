"""The measuring behind a judgement, with processes that are faked."""

# ruff: noqa: SIM300  expected == actual

import json
import random
from dataclasses import replace
from math import inf

import msgspec
import pytest

from mnbench.bench.groups import group_rows
from mnbench.bench.plan import BenchmarkCase
from mnbench.bench.trial import PlannedSession
from mnbench.comparison.comparison import Comparison
from mnbench.comparison.decide import DecisionRules
from mnbench.comparison.paired_trial import PROTOCOL, ComparisonCase, PairedTrial, pair_columns
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.storage import PairedTrialLog
from mnbench.errors import ResultsError, TrialError
from mnbench.network.cost import Cost
from mnbench.results.npz_archive import read_archive, write_archive


class FakeProcesses:
    """Stands in for `run_paired_trial`: each row has its effect in percent, each process takes so many seconds."""

    def __init__(self, effects, seconds=5.0, scatter=0.1):
        self.effects = effects
        self.seconds = seconds
        self.scatter = scatter
        self.now = 0.0
        self.slept = []
        self.asked = []
        self.doses = []
        self.answers = {}

    def __call__(self, rows, dose):
        self.asked.append((dose.seed, [row.variant for row in rows]))
        self.doses.append(dose)
        answer = self.answers.pop(len(self.asked) - 1, None)
        if isinstance(answer, PairedTrial):
            return answer
        if isinstance(answer, Exception):
            raise answer
        self.now += self.seconds
        draw = random.Random(dose.seed)
        pairs = []
        for at, row in enumerate(rows):
            effect = self.effects[row.variant]
            percent = (effect(dose.seed) if callable(effect) else effect) + draw.gauss(0, self.scatter)
            for pair in range(10):
                base = 1_000_000 if not answer else answer["base_ns"]
                candidate = round(base * (1 + percent / 100))
                pairs.append((at, 0, pair % 2, base, candidate, base, candidate))
        return PairedTrial(
            variants=tuple(row.variant for row in rows),
            columns=pair_columns(pairs),
            facts={
                "host": {"cpu": (answer or {}).get("cpu", "x"), "emulated": (answer or {}).get("emulated")},
                "sessions": {
                    f"{row.variant} {item}": {"waits": False} for row in rows for item in ("base", "candidate")
                },
            },
        )

    def sleep(self, seconds):
        """Time passes."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def make_row(tmp_path, make_device):
    """A row that nothing measures."""

    def make(variant):
        (tmp_path / "model").touch()
        cell = BenchmarkCase(
            variant=variant,
            architecture=None,
            alpha=None,
            resolution=None,
            precision="fp32",
            batch=1,
            path=tmp_path / "model",
            inputs_path=tmp_path / "feed",
            sha256="0",
            cost=Cost(params=1, mult_adds=1, memory_access=1),
            peak_activation_bytes=1,
            layers=(),
        )
        return ComparisonCase(
            variant=variant,
            baseline=PlannedSession(case=cell, device=make_device()),
            candidate=PlannedSession(case=cell, device=make_device()),
        )

    return make


@pytest.fixture
def held(make_row):
    """Hold a contest of rows with these effects."""

    def hold(effects, folder=None, answers=None, seconds=5.0, scatter=0.1, **settings):
        processes = FakeProcesses(effects, seconds, scatter)
        processes.answers = answers or {}
        contest = Procedure(
            [make_row(variant) for variant in effects],
            ComparisonSettings(**settings),
            PairedTrialLog(folder),
            on_progress=lambda _: None,
            run_trial=processes,
            clock=lambda: processes.now,
            sleep=processes.sleep,
        )
        findings = contest.run("base", "candidate").findings
        return processes, {finding.variant: finding for finding in findings}

    return hold


def nothing(busy=None, failed=None):
    """A process that measured nothing."""
    return PairedTrial(variants=("a", "b"), failed=failed or {}, busy_reason=busy)


def doubtful(seed):
    """An effect that no number of processes decides."""
    return (-8, 8)[int(seed.split("/")[2]) % 2]


def test_a_table_without_change_takes_four_processes(held):
    """Each with all rows and a seed of its own."""
    processes, result = held({"a": 0, "b": 0})
    assert [(f"0/first/{at}/0", ["a", "b"]) for at in range(4)] == processes.asked
    assert {"same"} == {item.verdict for item in result.values()}


@pytest.mark.parametrize(("rows", "slices"), [(1, 18), (2, 9), (3, 6), (4, 6), (20, 6)])
def test_a_process_with_few_rows_has_more_slices(held, rows, slices):
    """Starting it takes as long as 18 of them; otherwise it measures by the protocol."""
    processes, _ = held({f"row {at}": 0 for at in range(rows)})

    assert {replace(PROTOCOL, slices=slices)} == {dose.protocol for dose in processes.doses}


def test_a_busy_machine_may_be_allowed(held):
    """Then there are no limits, and else those of the sampling."""
    strict, _ = held({"a": 0})
    lenient, _ = held({"a": 0}, allow=frozenset({"busy"}))

    assert {(0.3, 1.0)} == {tuple(dose.limits.values()) for dose in strict.doses}
    assert {(inf, inf)} == {tuple(dose.limits.values()) for dose in lenient.doses}


def test_rows_of_other_runtimes_have_processes_of_their_own(make_row):
    """One old row of a table does not make the others run in its old runtime."""
    rows = {name: make_row(name) for name in "abcd"}
    for name, change in {"b": {"gateway": "popen//python=old"}, "d": {"environment": {"X": "1"}}}.items():
        base = replace(rows[name].baseline, device=msgspec.structs.replace(rows[name].baseline.device, **change))
        rows[name] = replace(rows[name], baseline=base)

    assert [["a", "c"], ["b"], ["d"]] == sorted(group_rows("abcd", lambda row: rows[row].sides, seed="0"))


def test_suspects_are_measured_again_alone(held):
    """With new seeds; the innocent is not."""
    processes, result = held({"a": 3, "b": 0})
    assert [["a", "b"]] * 4 + [["a"]] * 4 == [rows for _, rows in processes.asked]
    assert [f"0/again/{at}/0" for at in range(4)] == [seed for seed, _ in processes.asked[4:]]
    assert ("slower", "same") == (result["a"].verdict, result["b"].verdict)


def test_what_does_not_repeat_is_not_accused(held):
    """3 % slower at first, and no more when it is alone."""
    _, result = held({"a": lambda seed: 3 if "first" in seed else 0, "b": 0})
    assert "same" == result["a"].verdict
    assert result["a"].reason.startswith("looked +3.")


def test_only_undecided_rows_are_measured_on(held):
    """After four processes the quiet rows are decided; the doubtful one has all twenty-four."""
    processes, result = held({"a": 0, "b": 0, "c": 0, "d": doubtful}, budget_s=1000)
    assert ["a", "b", "c", "d"] == processes.asked[0][1]
    assert ["d"] == processes.asked[-1][1]
    assert 24 == len(processes.asked)
    assert ("inconclusive", 24) == (result["d"].verdict, result["d"].processes)


def test_the_budget_ends_it(held):
    """All of it is spent on what is undecided; what was measured is judged."""
    processes, result = held({"a": doubtful, "b": 0}, seconds=10, budget_s=80)
    assert [f"0/first/{at}/0" for at in range(8)] == [seed for seed, _ in processes.asked]
    assert ("inconclusive", 8) == (result["a"].verdict, result["a"].processes)
    processes, result = held({"a": 0, "b": 0}, seconds=10, budget_s=35)
    assert "3 of at least 4 processes: raise --budget" == result["a"].reason


def test_suspects_have_a_share_of_the_budget(held):
    """Seventy percent of it may pass before they are measured again, also where other rows are undecided."""
    processes, result = held({"a": 3, "b": doubtful, "c": 0, "d": 0}, seconds=10, budget_s=130)
    assert [["a", "b", "c", "d"]] * 4 + [["b"]] * 5 + [["a"]] * 4 == [rows for _, rows in processes.asked]
    assert ("slower", "inconclusive") == (result["a"].verdict, result["b"].verdict)


def test_undecided_rows_have_what_suspects_leave_of_the_budget(held):
    """They are measured on after the suspects, which are decided again by the first stage that they had."""
    processes, result = held({"a": 3, "b": doubtful, "c": 0, "d": 0}, seconds=10, budget_s=200)
    assert [["b"]] * 10 + [["a"]] * 4 + [["b"]] * 2 == [rows for _, rows in processes.asked[4:]]
    assert ("slower", "inconclusive") == (result["a"].verdict, result["b"].verdict)
    assert [4, 16] == [result[row].processes for row in "ab"]


@pytest.mark.parametrize("seed", range(20))
def test_no_budget_is_overspent_and_no_seed_comes_twice(held, seed):
    """Whatever the rows are like and however long a process takes: only the first may take longer than there is."""
    draw = random.Random(seed)
    kinds = [0, 3, -3, doubtful, lambda key: 3 if "first" in key else 0]
    effects = {f"row {at}": draw.choice(kinds) for at in range(draw.randint(1, 6))}
    seconds, budget_s, processes = draw.uniform(1, 20), draw.uniform(5, 300), draw.randint(4, 20)
    fake, result = held(effects, seconds=seconds, budget_s=budget_s, rules=DecisionRules(processes=processes))
    seeds = [item for item, _ in fake.asked]

    assert fake.now <= max(budget_s, seconds)
    assert len(set(seeds)) == len(seeds)
    assert all(item.processes <= processes for item in result.values())
    if "inconclusive" in {item.verdict for item in result.values()}:
        assert fake.now + seconds > budget_s or any(item.processes == processes for item in result.values())


def test_a_busy_machine_is_waited_for(held):
    """Five seconds at a time, and not forever."""
    processes, result = held({"a": 0, "b": 0}, answers={1: nothing(busy="load 9"), 2: nothing(busy="load 9")})
    assert [5.0, 5.0] == processes.slept
    assert {"same"} == {item.verdict for item in result.values()}
    processes, result = held({"a": 0, "b": 0}, answers={at: nothing(busy="load 9") for at in range(99)})
    assert 30.0 == sum(processes.slept)
    assert {"inconclusive"} == {item.verdict for item in result.values()}
    assert "0 of at least 4 processes: the machine is too busy: load 9 (--allow busy)" == result["a"].reason


def test_a_base_that_drifts_is_waited_for(held):
    """At 1.5 times its first latency, but not at 1.3 times."""
    drifted = {1: {"base_ns": 1_500_000}, 2: {"base_ns": 1_300_000}}
    processes, _ = held({"a": 0, "b": 0}, answers=drifted)
    assert [5.0] == processes.slept
    processes, _ = held({"a": 0, "b": 0}, answers=drifted, allow=frozenset({"busy"}))
    assert [] == processes.slept


def test_an_emulated_cpu_is_refused(held):
    """Wherever it hides; nothing allows it."""
    emulated = {0: {"base_ns": 1_000_000, "emulated": True}}
    _, result = held({"a": 0, "b": 0}, answers=emulated, allow=frozenset({"cpu", "busy"}))
    assert {"incomparable"} == {item.verdict for item in result.values()}
    assert "the CPU is emulated: latencies are meaningless" == result["a"].reason


def test_another_cpu_is_refused(held):
    """In mid-comparison, as a cloud may move a machine; unless it is allowed."""
    moved = {2: {"base_ns": 1_000_000, "cpu": "y"}}
    _, result = held({"a": 0, "b": 0}, answers=moved)
    assert {"incomparable"} == {item.verdict for item in result.values()}
    assert "another host: cpu x, then y (--allow cpu)" == result["a"].reason
    _, result = held({"a": 0, "b": 0}, answers=moved, allow=frozenset({"cpu"}))
    assert {"same"} == {item.verdict for item in result.values()}


@pytest.mark.parametrize(
    ("side", "verdict"), [("candidate", "missing"), ("base", "incomparable"), ("base or candidate", "incomparable")]
)
def test_a_row_that_crashes_costs_itself(held, side, verdict):
    """It crashes alone too; the process begins anew without it, and does not count."""
    failed = nothing(failed={"a": (side, "killed by SIGSEGV")})
    processes, result = held({"a": 0, "b": 0}, answers={0: failed, 1: failed})
    assert [["a", "b"], ["a"]] + [["b"]] * 4 == [rows for _, rows in processes.asked]
    assert (verdict, f"the {side} fails: killed by SIGSEGV") == (result["a"].verdict, result["a"].reason)
    assert "same" == result["b"].verdict


def test_a_row_that_crashes_among_others_is_measured_alone(held):
    """Others in the process may be the cause, such as their memory."""
    failed = nothing(failed={"a": ("base or candidate", "killed by SIGKILL")})
    processes, result = held({"a": 0, "b": 0, "c": 0}, answers={0: failed})
    assert [["a", "b", "c"], ["a"], ["b", "c"], ["a"], ["b", "c"]] == [rows for _, rows in processes.asked][:5]
    assert {"same"} == {item.verdict for item in result.values()}


def test_a_process_that_dies_while_it_measures_ends_it(held):
    """What was measured is judged; the rest is inconclusive, with the reason."""
    dead = TrialError("the worker was killed by SIGKILL: out of memory?", hint="")
    processes, result = held({"a": 0, "b": 0}, answers={2: dead})
    assert 3 == len(processes.asked)
    assert f"2 of at least 4 processes: a process failed: {dead.message}" == result["a"].reason


def test_a_large_table_takes_several_processes(held):
    """In place of one, each with rows drawn anew; every row has its four."""
    processes, result = held({f"row {at}": 0 for at in range(40)}, budget_s=1000)
    assert [32, 8] * 4 == [len(rows) for _, rows in processes.asked]
    assert processes.asked[1][1] != processes.asked[3][1]
    assert {("same", 4)} == {(item.verdict, item.processes) for item in result.values()}


def test_the_verdict_can_be_computed_again(held, tmp_path):
    """From what is kept, by the same rules or by others; a folder that holds nothing says so."""
    folder = tmp_path / "kept"
    folder.mkdir()
    _, result = held({"a": 1.5, "b": 0, "c": 3}, folder, scatter=0.05)
    assert list(result.values()) == list(Comparison.load(folder).findings)
    context = json.loads((folder / "comparison.json").read_bytes())
    assert context["processes"] == len(list(folder.glob("pairs.*.npz")))
    lenient = {
        finding.variant: finding.verdict for finding in Comparison.load(folder, DecisionRules(min_effect=0.02)).findings
    }
    assert ("slower", "slower") == (result["a"].verdict, result["c"].verdict)
    assert ("same", "slower") == (lenient["a"], lenient["c"])
    (folder / "pairs.1.npz").write_bytes(b"cut")
    with pytest.raises(ResultsError, match="holds no comparison that can be read"):
        Comparison.load(folder)


def test_pairs_stored_under_old_names_are_read(held, tmp_path):
    """The column `round` was `sweep`, and the facts `sessions` were `arms`."""
    _, result = held({"a": 3, "b": 0}, tmp_path)
    for path in tmp_path.glob("pairs.*.npz"):
        columns, encoded = read_archive(path)
        facts = json.loads(encoded)
        columns["sweep"] = columns.pop("round")
        facts["arms"] = facts.pop("sessions")
        write_archive(path, columns, facts)
    assert list(result.values()) == list(Comparison.load(tmp_path).findings)
