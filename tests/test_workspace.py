"""Where tables are looked for."""

import pytest

from mnbench import families
from mnbench.errors import DeviceFileError, GraphFileError
from mnbench.targets.device import read_device
from mnbench.workspace import built_in, table_paths


def _write_table(path, built_in_text, **values):
    """A copy of a built-in table with other values under its first keys."""
    lines = built_in_text.splitlines()
    for key, value in values.items():
        index = next(index for index, line in enumerate(lines) if line.startswith(f"{key} = "))
        lines[index] = f'{key} = "{value}"'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _own_graph(path, **values):
    return _write_table(path, (built_in("graphs") / "v1.toml").read_text(encoding="utf-8"), **values)


def _own_device(path, **values):
    return _write_table(path, (built_in("devices") / "cpu.toml").read_text(encoding="utf-8"), **values)


@pytest.mark.usefixtures("workspace")
def test_built_in_tables_are_found_from_any_folder():
    """Without a workspace the built-in tables answer."""
    expected = ("MobileNet V1", "CPUExecutionProvider")

    assert expected == (families.architecture("v1").title, read_device("cpu").provider)


def test_workspace_hides_a_built_in_graph(workspace):
    """A graph in the workspace's own folder stands for the built-in one of its name."""
    title = "Mine"
    _own_graph(workspace / "graphs/v1.toml", title=title)

    assert title == families.architecture("v1").title


def test_workspace_hides_a_built_in_device(workspace):
    """A device in the workspace's own folder stands for the built-in one of its name."""
    summary = "Mine"
    _own_device(workspace / "devices/cpu.toml", summary=summary)

    assert summary == read_device("cpu").summary


def test_workspace_stands_beside_the_built_in_tables(workspace):
    """Own tables and built-in ones are listed together, in the order of their names."""
    last = _own_graph(workspace / "graphs/zz.toml", name="zz")
    first = _own_graph(workspace / "graphs/a.toml", name="a")
    entries = table_paths("graphs")

    assert sorted(entries) == list(entries)
    assert {"a", "v1", "zz"} <= set(entries)
    assert [first, last] == [entries["a"].absolute(), entries["zz"].absolute()]
    assert entries["v1"].parent == built_in("graphs")


def test_workspace_folder_of_one_kind_does_not_hold_the_other(workspace):
    """A graph is no device."""
    _own_graph(workspace / "graphs/mine.toml", name="mine")

    assert "mine" not in table_paths("devices")


@pytest.mark.parametrize("place", ["mine.toml", "./mine.toml", "deep/in/mine.toml"])
def test_path_to_a_graph(workspace, place):
    """A path that ends in .toml works wherever a name does."""
    title = "By path"
    _own_graph(workspace / place, title=title, name="mine")

    assert title == families.architecture(place).title
    assert title == families.architecture(str(workspace / place)).title


def test_path_to_a_device(workspace):
    """A path to a device works wherever a name does."""
    summary = "By path"
    _own_device(workspace / "elsewhere/mine.toml", summary=summary, name="mine")

    assert summary == read_device("elsewhere/mine.toml").summary


def test_a_table_bears_the_name_of_its_file(workspace):
    """Results go by names: those of two tables of one name would be mixed."""
    _own_graph(workspace / "graphs/mine.toml")
    _own_device(workspace / "devices/local-pi.toml")

    with pytest.raises(GraphFileError, match="key `name`: 'v1' is not the name of the file") as failure:
        families.architecture("mine")
    assert failure.value.hint == "results go by it: name the table mine, or the file v1.toml"
    with pytest.raises(DeviceFileError, match="'cpu' is not the name of the file"):
        read_device("local-pi")


@pytest.mark.usefixtures("workspace")
def test_path_is_never_a_name():
    """`v1.toml` is a file of the current folder and not the built-in v1."""
    with pytest.raises(GraphFileError, match=r"^v1\.toml: cannot be read"):
        families.architecture("v1.toml")


def test_unknown_graph_says_what_is_known(workspace):
    """A misspelt graph gets a guess, every known name and what else may stand there."""
    _own_graph(workspace / "graphs/own.toml", name="own")
    known = ", ".join(table_paths("graphs"))
    message = "v11: unknown graph"
    hint = (
        f"did you mean `v1`? known: {known}; a variant such as v1-a0.5-r160, or a path to an .onnx or a .toml works too"
    )

    with pytest.raises(GraphFileError) as caught:
        families.architecture("v11")

    assert (message, hint) == (caught.value.message, caught.value.hint)
    assert "own" in known


def test_unknown_device_says_what_is_known(workspace):
    """A misspelt device gets a guess and every known name, and no word of .onnx files."""
    _own_device(workspace / "devices/own.toml", name="own")
    known = ", ".join(table_paths("devices"))
    message = "cpuu: unknown device"
    hint = f"did you mean `cpu`? known: {known}; a path to a .toml works too"

    with pytest.raises(DeviceFileError) as caught:
        read_device("cpuu")

    assert (message, hint) == (caught.value.message, caught.value.hint)
    assert "own" in known


@pytest.mark.usefixtures("workspace")
def test_no_guess_where_nothing_is_close():
    """A name like no other gets the known names alone."""
    with pytest.raises(GraphFileError) as caught:
        families.architecture("xylophone")

    assert caught.value.hint.startswith("known: ")


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", ["", ".", "..", "/", "graphs", "v1/", "V1", "v1 ", "\n"])
def test_odd_names_are_unknown(name):
    """Whatever is no name is refused as an unknown one."""
    with pytest.raises(GraphFileError, match="unknown graph"):
        families.architecture(name)


def test_broken_table_does_not_stop_the_others(workspace):
    """Only the table that is asked for is read."""
    (workspace / "graphs").mkdir()
    (workspace / "graphs/broken.toml").write_text("not = = toml", encoding="utf-8")
    expected = "v1"

    assert expected == families.architecture("v1").name
    with pytest.raises(GraphFileError, match=r"broken\.toml: is not TOML"):
        families.architecture("broken")


def test_file_in_place_of_the_folder(workspace):
    """A file called graphs is no workspace."""
    (workspace / "graphs").write_text("", encoding="utf-8")
    expected = "v1"

    assert expected == families.architecture("v1").name


def test_an_explicit_folder_is_the_workspace(workspace, tmp_path_factory):
    """Its tables are read instead of the current folder's, whose tables do not count."""
    other = tmp_path_factory.mktemp("other")
    for folder, title in ((workspace, "current"), (other, "other")):
        _own_graph(folder / "graphs/v1.toml", title=title)
        _own_device(folder / "devices/cpu.toml", summary=title)
    (other / "devices" / "mine.toml").write_text('extends = "cpu"\nname = "mine"\n', encoding="utf-8")

    assert families.architecture("v1", other).title == "other"
    assert families.parse_variant("v1-a1-r32", other).architecture.title == "other"
    assert [variant.architecture.title for variant in families.select_variants(["v1"], root=other)] == ["other"]
    assert (read_device("cpu", other).summary, read_device("mine", other).summary) == ("other", "other")
    assert "mine" not in table_paths("devices")
    assert families.architecture("v1").title == "current"
