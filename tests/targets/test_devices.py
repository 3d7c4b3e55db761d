"""Devices: profiles, what makes each ready, their environments, and several of them in one run."""

# ruff: noqa: SIM300  expected == actual

import json
import platform
import sys
from pathlib import Path

import msgspec
import pytest
from common import DEVICES, ONCE, SMALL

from mnbench.bench.case_sampling import DeviceRun
from mnbench.bench.schedule import run_all
from mnbench.errors import DeviceFileError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.store import ResultsFile
from mnbench.targets import environments
from mnbench.targets.device import read_device
from mnbench.targets.environments import is_used_by, prepare_device, with_packages
from mnbench.targets.readiness import check_readiness
from mnbench.targets.runtimes import runtime_names

PROFILES = {name: read_device(name) for name in DEVICES}


@pytest.fixture
def no_environment(monkeypatch):
    """Environments are this Python; what they were asked to hold is kept."""
    asked = []

    def create(device, *, fresh=False):
        asked.append((device.requires, device.requires_no_deps, fresh))
        return Path(sys.executable)

    monkeypatch.setattr("mnbench.targets.environments.create_environment", create)
    return asked


@pytest.fixture
def no_conversion(monkeypatch):
    """Converters give models back as they are; which devices asked is kept."""
    asked = []

    def convert(device, request, answer, *, timeout_s):
        assert timeout_s > 0
        asked.append((device.name, request["model"]))
        return answer(model=Path(request["model"]).read_bytes(), duration_ns=7_000_000)

    monkeypatch.setattr("mnbench.bench.request.call_worker", convert)
    return asked


# Profiles


@pytest.mark.parametrize("name", DEVICES)
def test_a_profile_has_its_name_and_a_runtime(name):
    """Each built-in profile is named as its file, and its runtime is one of the worker's files."""
    assert name == PROFILES[name].name
    assert PROFILES[name].runtime in runtime_names()


@pytest.mark.parametrize("name", [name for name in DEVICES if name not in {"cpu", "cuda-tf32"}])
def test_a_profile_says_what_was_tried_and_how_to_get_it(name):
    """Profiles that few can run say what was tried; all say what to install, or have an environment of their own."""
    assert PROFILES[name].tested
    assert PROFILES[name].requires or PROFILES[name].install_hint


def test_what_was_tried_is_not_inherited(workspace):
    """A profile that extends another was not tried with it."""
    (workspace / "devices").mkdir()
    (workspace / "devices" / "mine.toml").write_text('extends = "openvino"\nname = "mine"\n', encoding="utf-8")

    assert ("", ("openvino",)) == (read_device("mine").tested, read_device("mine").requires)


def test_an_unknown_runtime_is_refused(workspace):
    """The error names those that there are."""
    path = workspace / "own.toml"
    path.write_text('extends = "cpu"\nname = "own"\nruntime = "nowhere"\n', encoding="utf-8")

    with pytest.raises(DeviceFileError, match="unknown runtime 'nowhere'") as failure:
        read_device(str(path))
    assert "mnn, ncnn, onnxruntime, opencv, openvino" in failure.value.hint


# Ready, or what makes it so


class Installed:
    """A distribution with these files."""

    def __init__(self, *files):
        self.files = [Path(name) for name in files]


@pytest.mark.parametrize(
    ("distribution", "changes", "text"),
    [
        (Installed(), {}, "ready"),
        (None, {}, "pip install onnxruntime"),
        (None, {"install_hint": "make it"}, "make it"),
        (Installed(), {"provider": "CUDAExecutionProvider", "install_hint": "make it"}, "make it"),
        (Installed("libonnxruntime_providers_cuda.so"), {"provider": "CUDAExecutionProvider"}, "ready"),
        (Installed(), {"systems": ("Nowhere", "Else")}, "needs Nowhere or Else"),
        (Installed(), {"provider": "CoreML", "systems": (platform.system(),)}, "mnbench devices probe cpu"),
        (Installed(), {"provider": "XnnpackExecutionProvider", "install_hint": "build it"}, "build it"),
        (None, {"gateway": "ssh=board"}, "mnbench devices probe cpu"),
        (None, {"requires": ("openvino",)}, "mnbench devices setup cpu"),
    ],
)
def test_readiness_is_seen_from_outside(make_device, monkeypatch, tmp_path, distribution, changes, text):
    """What is installed, the system and the environments that are made tell whether a device is ready."""
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("mnbench.targets.readiness.find_distribution", lambda _: distribution)

    assert text == check_readiness(make_device(**changes)).text


def test_an_environment_that_is_made_is_ready(make_device, monkeypatch, tmp_path):
    """Only a whole environment counts: its last file is there."""
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    device = make_device(requires=("openvino",), requires_no_deps=("pnnx",))
    place = environments.environment_path(device)
    place.mkdir(parents=True)
    before = check_readiness(device)
    (place / "ready").touch()

    assert (False, True) == (before.ready, check_readiness(device).ready)


def test_devices_lists_what_makes_each_ready(invoke, monkeypatch, tmp_path):
    """The table has the command to type, below it where it is long; json has it by itself."""
    monkeypatch.setenv("MNBENCH_CACHE", str(tmp_path))
    lines = invoke("devices").stdout.splitlines()
    payload = {load["name"]: load for load in json.loads(invoke("devices", "--format", "json").stdout)["devices"]}

    assert next(line for line in lines if line.startswith("openvino ")).rstrip().endswith("devices setup openvino")
    assert next(line for line in lines if line.startswith("cpu ")).rstrip().endswith("ready")
    assert any(line.startswith("tensorrt: pip ") for line in lines)
    assert (True, False) == (payload["cpu"]["ready"], payload["ncnn"]["ready"])
    assert "mnbench devices setup ncnn" == payload["ncnn"]["command"]


# Environments


def test_a_device_that_requires_packages_runs_in_their_environment(make_device, no_environment):
    """The gateway starts that environment's Python; the worker needs numpy there too."""
    device = prepare_device(make_device(requires=("ncnn",), requires_no_deps=("pnnx",)), fresh=True)

    assert f"popen//python={sys.executable}" == device.gateway
    assert [(("ncnn",), ("pnnx",), True)] == no_environment


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requires": ("openvino",), "gateway": "ssh=board"}, "openvino is not installed on other machines"),
        ({"systems": ("Windows", "Nowhere")}, "needs Windows or Nowhere, and this is"),
    ],
)
def test_what_cannot_be_made_here_is_refused(make_device, no_environment, changes, message):
    """Nothing is installed on another machine, or for another system."""
    with pytest.raises(RuntimeUnavailable, match=message):
        prepare_device(make_device(**changes))
    assert [] == no_environment


@pytest.mark.parametrize(
    ("requires", "alone", "packages", "expected"),
    [
        ((), (), ["onnxruntime==1.26.0"], (("onnxruntime==1.26.0",), ())),
        ((), (), ["onnxruntime-gpu"], (("onnxruntime-gpu",), ())),
        ((), (), ["numpy==2.1.0"], (("onnxruntime", "numpy==2.1.0"), ())),
        ((), (), [], ((), ())),
        (("Open_VINO>=1",), (), ["open-vino==2"], (("open-vino==2",), ())),
        (("ncnn",), ("pnnx",), ["pnnx==20260101"], (("ncnn",), ("pnnx==20260101",))),
        (("ncnn",), ("pnnx",), ["ncnn==1"], (("ncnn==1",), ("pnnx",))),
    ],
)
def test_packages_take_the_place_of_others_of_their_name(make_device, requires, alone, packages, expected):
    """`--with` changes a version, whatever the spelling, and leaves the rest."""
    device = with_packages(make_device(requires=requires, requires_no_deps=alone), packages)

    assert expected == (device.requires, device.requires_no_deps)


def test_packages_concern_devices_that_use_them():
    """A package is for devices whose runtime it is, or that require it, of an index for Python or of npm."""
    names = {name for name, device in PROFILES.items() if is_used_by("pnnx==1", device)}
    web = {name for name, device in PROFILES.items() if is_used_by("onnxruntime-web==1.30.0", device)}

    assert {"ncnn"} == names
    assert {"ort-web", "ort-browser", "ort-webgpu"} == web
    assert ("onnxruntime-web==1.29.0",) == with_packages(PROFILES["ort-web"], ["onnxruntime-web==1.29.0"]).requires_npm
    assert {"cpu", "openvino-ep"} <= {name for name in DEVICES if is_used_by("onnxruntime-openvino", PROFILES[name])}


def test_setup_makes_the_environment(invoke, no_environment):
    """`devices setup` makes what the device requires, and says where; others have nothing to be made."""
    built, nothing = invoke("devices", "setup", "ncnn", "--fresh"), invoke("devices", "setup", "cpu")

    assert [(("ncnn",), ("pnnx",), True)] == no_environment
    assert f"ncnn: {sys.executable}\n" == built.stdout
    assert "making an environment with ncnn, pnnx, once" in built.stderr
    assert "cpu: it needs no environment; ready\n" == nothing.stdout


@pytest.mark.usefixtures("no_environment", "no_conversion")
def test_probe_proves_a_device_by_a_run(invoke, fake_worker):
    """`devices probe` tells runtime, placement, difference and conversion of a run."""
    fake_worker.changes["placement"] = lambda: {"CPU": ["a", "b"]}
    shown = invoke("devices", "probe", "mnn").stdout
    payload = json.loads(invoke("devices", "probe", "mnn", "--format", "json").stdout)

    assert "mnn works" in shown
    assert "2 of 2 nodes on CPU" in shown
    assert ({"CPU": 2}, 7_000_000) == (payload["placement"], payload["conversion_ns"])
    assert payload["difference"] < 1e-3


@pytest.mark.usefixtures("no_environment")
def test_probe_fails_where_nodes_run_elsewhere(invoke, fake_worker):
    """A provider that does not take every node fails its probe, unless that is allowed."""
    fake_worker.changes["placement"] = lambda: {"CPU": ["conv1/conv"], "Other": ["fc"]}
    refused, allowed = (invoke("devices", "probe", "openvino", *more) for more in ((), ("--allow-fallback",)))

    assert (1, 0) == (refused.exit_code, allowed.exit_code)
    assert "1 of 2 nodes ran on Other and not on CPU" in refused.stderr
    assert "1 of 2 nodes on CPU, 1 of 2 nodes on Other" in allowed.stdout


# Several devices in one run


@pytest.mark.usefixtures("no_environment")
def test_devices_are_measured_in_one_command(invoke, fake_worker, no_conversion, workspace):
    """Each device has its own file of records; one table has all; a model is converted once for all processes."""
    result = invoke("run", "v1", *SMALL, "--device", "cpu,openvino,mnn", "--processes", "3", "--duration", "0.01")
    records = [ResultsFile(workspace / "results", name).read_records()[0] for name in ("cpu", "openvino", "mnn")]

    assert 0 == result.exit_code
    assert [3, 3, 3] == [record.processes for record in records]
    assert ["mnn"] == [name for name, _ in no_conversion]
    assert [None, None, 7_000_000] == [record.conversion_ns for record in records]
    assert {"cpu", "openvino", "mnn"} == {device.name for device, _, _ in fake_worker.requests}
    assert 3 == sum(line.startswith("v1 ") for line in result.stdout.splitlines())


def test_tasks_share_rounds(make_plan, make_device, scripted_visit, tmp_path):
    """Every case of every device is measured once before any is again; devices have processes of their own."""
    devices = [make_device(name=name) for name in ("one", "two", "three")]
    order = []
    visit = scripted_visit(lambda plan, cell, _: order.append((plan.device.name, cell.variant)))
    tasks = []
    for device in devices:
        plan, store = make_plan("a", "b", device=device, processes=3), ResultsFile(tmp_path / "results", device.name)
        tasks.append(DeviceRun(plan=plan, results_file=store, folder=store.open_run(plan.id)))
    lost = run_all(tasks, on_process=lambda *_: None, measure=visit)
    rounds = [order[at : at + 6] for at in range(0, 18, 6)]

    assert {} == lost
    assert 18 == len(order)
    assert [1] * 6 + [2] * 6 == [len(group) for group in visit.groups]
    assert [6, 6, 6] == [len(set(item)) for item in rounds]
    assert rounds[0] != rounds[1] or rounds[1] != rounds[2]


@pytest.mark.parametrize("error", [RuntimeUnavailable, UnreachableError])
def test_a_device_that_is_lost_costs_its_own_cells_alone(make_plan, make_device, scripted_visit, tmp_path, error):
    """The others are measured to their end; nothing is left of a run that found nothing."""
    tasks = []
    for name in ("good", "bad"):
        plan = make_plan("a", "b", device=make_device(name=name), processes=2)
        store = ResultsFile(tmp_path / "results", name)
        tasks.append(DeviceRun(plan=plan, results_file=store, folder=store.open_run(plan.id)))

    def script(plan, _cell, _before):
        if plan.device.name == "bad":
            raise error("gone", hint="look")

    lost = run_all(tasks, on_process=lambda *_: None, measure=scripted_visit(script))

    assert [("bad", "gone")] == [(device, failure.message) for device, failure in lost.items()]
    assert (["a", "b"], []) == tuple([read_record.variant for read_record in task.read_records()] for task in tasks)
    assert not tasks[1].folder.path.exists()


def test_an_environment_that_cannot_be_made_costs_that_device(invoke, fake_worker, monkeypatch, workspace):
    """One line says why, the exit code is 1, and the other devices' records are kept."""

    def refuse(*_requirements, **_):
        raise RuntimeUnavailable("openvino cannot be installed: no route", hint="see that the index can be reached")

    monkeypatch.setattr("mnbench.targets.environments.create_environment", refuse)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "openvino,cpu")
    alone = invoke("run", "v1", *SMALL, *ONCE, "--device", "openvino")

    assert (1, 1) == (result.exit_code, alone.exit_code)
    assert "Error: openvino cannot be installed: no route\nHint: see that" in result.stderr
    assert ["cpu.jsonl"] == [path.name for path in (workspace / "results").glob("*.jsonl")]
    assert 1 == len(fake_worker.requests)
    assert "" == alone.stdout


@pytest.mark.usefixtures("no_environment", "fake_worker")
def test_a_conversion_that_fails_costs_its_cell(invoke, monkeypatch):
    """The cell says that it could not be converted; the same graph on another device is measured."""

    def fail(*_, **__):
        raise TrialError("cannot be converted (exit code 1): no such operator", hint="look")

    monkeypatch.setattr("mnbench.bench.request.call_worker", fail)
    result = invoke("run", "v1", *SMALL, *ONCE, "--device", "cpu,ncnn", "--format", "json")
    records = {record["device"]: record for record in json.loads(result.stdout)["records"]}

    assert 1 == result.exit_code
    assert None is records["cpu"]["error"]
    assert "not converted for ncnn: cannot be converted (exit code 1): no such operator" == records["ncnn"]["error"]
    assert "Error: 1 of 2 cases could not be measured" in result.stderr


@pytest.mark.usefixtures("fake_worker")
def test_with_names_the_version_to_measure(invoke, no_environment):
    """`--with` makes an environment for the devices that the package is for, and no others."""
    assert 0 == invoke("run", "v1", *SMALL, *ONCE, "--with", "onnxruntime==1.26.0").exit_code
    assert 0 == invoke("run", "v1", *SMALL, *ONCE, "--with", "openvino==2025", "--device", "cpu,openvino").exit_code
    assert [("onnxruntime==1.26.0",), ("openvino==2025",)] == [asked[0] for asked in no_environment]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "cpu,cpu"), "device cpu is named twice"),
        (("--device", "cpu,"), "has an empty name"),
        (("--device", "cpu,openvino", "--with", "pnnx"), "none of these devices uses pnnx"),
    ],
)
def test_devices_that_make_no_sense_are_usage_errors(invoke, words, message):
    """Exit code 2, before anything is measured."""
    result = invoke("run", "v1", *SMALL, *words)

    assert 2 == result.exit_code
    assert message in result.stderr


def test_completion_offers_the_last_of_several_devices():
    """After a comma the shell completes the next name."""
    from mnbench.cli.param_types import WorkspaceNames

    completion_items = WorkspaceNames("devices").shell_complete(None, None, "cpu,openv")

    assert ["cpu,openvino", "cpu,openvino-ep"] == [item.value for item in completion_items]


def test_a_runtime_that_is_missing_in_its_environment_hints_at_setup(make_device):
    """The hint is the command that makes the environment again."""
    from mnbench.targets.answers import Failure
    from mnbench.targets.transport import _refusal_error

    mnbench_error = _refusal_error(Failure(error="gone", unavailable="runtime"), make_device(requires=("onnxruntime",)))
    got = _refusal_error(
        Failure(error="gone", unavailable="provider"), msgspec.structs.replace(make_device(), install_hint="make it")
    )

    assert ("mnbench devices setup cpu --fresh", "make it") == (mnbench_error.hint, got.hint)
