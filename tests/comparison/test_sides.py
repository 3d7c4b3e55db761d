"""What the arguments of `mnbench compare` mean: names of variants, sides, and what is paired with what."""

# ruff: noqa: SIM300  expected == actual

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnbench import families
from mnbench.comparison.sides import SideOptions, pair_sides, parse_options
from mnbench.errors import BuildError, GraphFileError, RuntimeUnavailable
from mnbench.families import parse_variant
from mnbench.network.variant import InputOptions, OnnxFile, Variant
from mnbench.workspace import table_paths

# Names


def variants():
    """Any variant that can be built."""

    def build_variant(name, alpha, sides, options):
        architecture = families.architecture(name)
        family_options, options = options
        family_options = {option: value for option, value in family_options.items() if option in architecture.options}
        alpha = alpha if architecture.has_width_rule else 1.0
        try:
            return Variant(architecture=architecture, alpha=alpha, resolution=sides, options=family_options, **options)
        except BuildError:
            return None

    family_options = st.fixed_dictionaries(
        {},
        optional={
            "groups": st.sampled_from([1, 2, 3, 4, 8]),
            "unit": st.sampled_from(["paper", "torchvision", "megvii"]),
            "activation": st.just("relu"),
            "head": st.sampled_from(["ssdlite", "ssd", "deeplabv3", "lraspp", "crops", "embedding128"]),
            "tail": st.just("halved"),
            "design": st.just("torchvision"),
            "filters": st.sampled_from([64, 256]),
            "stride": st.sampled_from([8, 32]),
        },
    )
    options = st.fixed_dictionaries(
        {},
        optional={
            "batch": st.one_of(st.none(), st.integers(1, 64)),
            "classes": st.integers(0, 2000),
            "padding": st.sampled_from(["torch", "same"]),
            "precision": st.sampled_from(["fp32", "fp16", "int8"]),
        },
    )
    sides = st.tuples(st.integers(32, 512), st.integers(32, 512)) | st.integers(32, 512).map(lambda item: (item, item))
    alphas = st.sampled_from([1.0, 0.75, 0.333]) | st.floats(1e-6, 4, exclude_min=True)
    names = st.sampled_from(sorted(table_paths("graphs")))
    return st.builds(build_variant, names, alphas, sides, st.tuples(family_options, options)).filter(
        lambda variant: variant is not None
    )


@pytest.mark.slow
@given(variants())
def test_a_name_leads_back_to_its_variant(variant):
    """Whatever differs from the table's own."""
    assert variant == parse_variant(variant.name)


@pytest.mark.parametrize("name", ["", "v1", "v1-a1", "v1-r224", "v1-a-r224", "v1-a1-r224-x", "v1-a1.2.3-r224", "fp31"])
def test_what_is_no_name_is_refused(name):
    """In one line with an example."""
    with pytest.raises(BuildError) as caught:
        parse_variant(name)
    assert "v1-a0.5-r160" in caught.value.hint


def test_a_name_of_an_unknown_table_says_which_are_known():
    """As everywhere."""
    with pytest.raises(GraphFileError, match="unknown graph"):
        parse_variant("v9-a1-r224")


# Sides


def select(name):
    """The model of that name, as it is."""
    return [OnnxFile(path=Path(name)) if name.endswith(".onnx") else parse_variant(name)]


def test_options_are_told_from_models():
    """Precisions, runtimes and settings are options; files, folders and variants are not."""
    assert SideOptions(precision="int8") == parse_options("int8")
    assert SideOptions(requirement="onnxruntime==1.30.0") == parse_options("onnxruntime==1.30.0")
    assert SideOptions(requirement="OpenVINO>=2026") == parse_options("OpenVINO>=2026")
    assert SideOptions(requirement="onnxruntime") == parse_options("onnxruntime")
    assert SideOptions() == parse_options("default")
    settings = {"session.intra_op.allow_spinning": "1", "threads": "2", "provider.use_tf32": "1"}
    assert SideOptions(settings=settings) == parse_options(
        "session.intra_op.allow_spinning=1,threads=2,provider.use_tf32=1"
    )
    for name in ("a.onnx", "net=a.onnx", ".", "v1-a0.5-r160", "v1"):
        assert parse_options(name) is None


def test_settings_change_the_device(make_device):
    """Session options, provider options and threads, each in its place, over what the profile has."""
    device = make_device(options={"session.x": "0", "session.y": "0"})
    result = SideOptions(settings={"session.x": "1", "threads": "2", "provider.z": "3"}).configure_device(device)
    assert ({"session.x": "1", "session.y": "0"}, {"z": "3"}, 2) == (
        result.options,
        result.provider_options,
        result.threads,
    )


def test_a_runtime_of_its_own_has_an_environment_of_its_own(make_device, monkeypatch):
    """The gateway starts that environment's Python."""
    monkeypatch.setattr(
        "mnbench.comparison.sides.create_environment",
        lambda device: Path("/cache") / "+".join([*device.requires, *device.requires_no_deps]),
    )
    device = SideOptions(requirement="onnxruntime==1.30.0").configure_device(make_device())
    assert "popen//python=/cache/onnxruntime==1.30.0" == device.gateway
    ncnn = make_device(
        runtime="ncnn", requires=("ncnn",), requires_no_deps=("pnnx",), gateway=f"popen//python={sys.executable}"
    )
    assert "popen//python=/cache/ncnn==1.0+pnnx" == SideOptions(requirement="ncnn==1.0").configure_device(ncnn).gateway
    assert ncnn == SideOptions(requirement="ncnn").configure_device(ncnn)


@pytest.mark.parametrize("requirement", ["openvino", "openvino==2026.3.0", "onnxruntimes==1"])
def test_a_build_of_another_runtime_is_refused(make_device, requirement):
    """A device has one runtime: what is compared are builds of it."""
    with pytest.raises(BuildError, match=f"device cpu measures with onnxruntime, and not with {requirement}"):
        SideOptions(requirement=requirement).configure_device(make_device())


def test_a_runtime_is_not_installed_on_other_machines(make_device):
    """A gateway to another machine, or into a container, has the runtime that it has."""
    for gateway in ("ssh=board", "popen//python=docker run -i image python3"):
        with pytest.raises(RuntimeUnavailable, match="is not installed on other machines"):
            SideOptions(requirement="onnxruntime==1.30.0").configure_device(make_device(gateway=gateway))


def test_folders_are_paired_by_file_name(tmp_path):
    """One-sided files are there with one side."""
    for name in ("a/x.onnx", "b/x.onnx", "a/old.onnx", "b/new.onnx", "a/deep/y.onnx", "b/deep/y.onnx", "a/other.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    requests = pair_sides(str(tmp_path / "a"), str(tmp_path / "b"), [], select)
    assert {
        "deep/y": (True, True),
        "new": (False, True),
        "old": (True, False),
        "x": (True, True),
    } == {request.variant: (request.baseline is not None, request.candidate is not None) for request in requests}


def test_files_of_folders_are_paired_at_every_size(tmp_path):
    """A size is part of the row's name, so no size replaces another."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.onnx").touch()

    def select_sizes(name):
        return [OnnxFile(path=Path(name), input_options=InputOptions(batch=batch)) for batch in (1, 2)]

    requests = pair_sides(str(tmp_path / "a"), str(tmp_path / "b"), [], select_sizes)
    assert [request.variant for request in requests] == ["x[batch=1]", "x[batch=2]"]


@pytest.mark.parametrize(
    ("base", "candidate", "graphs", "message"),
    [
        ("fp32", "int8", [], "no graphs"),
        ("fp32", "default", ["v1-a1-r224"], "compare a precision with another precision"),
        ("v1-a1-r224", "v1-a1-r224", ["v1-a1-r224"], "GRAPH is for comparisons"),
        ("v1-a1-r224", "fp32", [], "two kinds"),
        ("a.onnx", ".", [], "two kinds"),
        (".", ".", [], "hold no .onnx files"),
    ],
)
def test_sides_that_do_not_go_together_are_refused(workspace, base, candidate, graphs, message):  # noqa: ARG001
    """In one line."""
    with pytest.raises(BuildError, match=message):
        pair_sides(base, candidate, graphs, select)


def test_as_many_models_are_paired_as_options_select():
    """In order; sides that select different numbers of models are refused."""
    models = {"old": [parse_variant(f"v1-a{alpha}-r64") for alpha in (1, 0.5)], "new": select("v2-a1-r64")}
    requests = pair_sides("old", "old", [], models.get)
    assert ["v1-a1-r64", "v1-a0.5-r64"] == [request.variant for request in requests]
    assert all(request.baseline == request.candidate for request in requests)
    with pytest.raises(BuildError, match="BASE selects 2 models and CANDIDATE 1"):
        pair_sides("old", "new", [], models.get)


@pytest.mark.parametrize(("name", "message"), [("x.onnx", "has a fixed precision"), ("v1-a1-r64-fp16", "is in fp16")])
def test_a_model_with_a_precision_is_not_compared_in_two(name, message):
    """It would be measured in others than its own."""
    with pytest.raises(BuildError, match=message):
        pair_sides("fp32", "int8", [name], select)
