"""Older records: a variant in its name alone, and a difference in another unit."""

# ruff: noqa: SIM300  expected == actual

import pytest

from mnbench.bench.aggregate import failed_record
from mnbench.bench.prepare import prepare_case
from mnbench.families import parse_variant
from mnbench.model.build import build_model
from mnbench.results.columns import record_accuracy
from mnbench.results.record import SCHEMA
from mnbench.results.upgrade import NAME_SUFFIXES, upgrade

NAMES = [
    "v1-a1-r224",
    "v1-a0.5-r160x128-b4-c10-same-fp16",
    "shufflenet-v1-g8-a1-r224-int8",
    "shufflenet-v2-torchvision-a0.5-r224",
    "v3-small-a0.75-r224-relu-fp16",
    "g1-1to6-a2-r56",
]


def variant_fields(variant):
    """What a record stores of a variant, by either name."""
    names = ("alpha", "resolution", "batch", "classes", "options", "padding", "precision")
    return {name: getattr(variant, name) for name in names}


@pytest.mark.parametrize("suffix", ["", *NAME_SUFFIXES])
@pytest.mark.parametrize("name", NAMES)
def test_a_record_of_schema_1_is_upgraded(make_record, name, suffix):
    """The fields that its name alone had make the same variant as the name."""
    variant = parse_variant(name)
    old = make_record(
        variant.alpha,
        schema=1,
        variant=name + suffix,
        architecture=variant.architecture.name,
        resolution=variant.resolution,
        batch=variant.batch,
        precision=variant.precision,
    )
    record = upgrade(old)
    assert (SCHEMA, variant_fields(variant)) == (record.schema, variant_fields(record))
    assert (old.variant, suffix != "-plain", suffix != "-bn") == (
        record.variant,
        record.simplified,
        record.fold_batch_norm,
    )


@pytest.mark.parametrize("form", [{}, {"simplified": False}, {"keep_bn": True}])
def test_a_measured_case_has_the_fields(make_plan, tmp_path, form):
    """Those that the model was built with."""
    variant = parse_variant("shufflenet-v1-g2-a0.25-r32-c10-same")
    model = build_model(variant, **form)
    record = failed_record(make_plan(), prepare_case(model, tmp_path, variant="row", seed=0), "run", "it failed", [])
    assert (SCHEMA, variant_fields(variant)) == (record.schema, variant_fields(record))
    assert {"simplified": record.simplified, "keep_bn": not record.fold_batch_norm} == {
        "simplified": True,
        "keep_bn": False,
    } | form


def test_records_of_graphs_that_are_gone_are_readable(make_record):
    """Without the options in their names."""
    old = make_record(schema=1, variant="gone-g8-a1-r224", architecture="gone")
    record = upgrade(old)
    assert (SCHEMA, {}) == (record.schema, record.options)


def test_a_file_has_no_variant(make_record):
    """A user's own model."""
    record = upgrade(make_record(None, schema=1, variant="own", architecture=None, resolution=None))
    assert (SCHEMA, None) == (record.schema, record.classes)


def test_a_difference_in_another_unit_is_left_out(make_record):
    """Before schema 3 it was a share of the spread, which does not say what share of the largest number it is."""
    old, new = upgrade(make_record(schema=2, difference=0.5)), upgrade(make_record(difference=0.5))
    assert (SCHEMA, None, 0.5) == (old.schema, old.difference, new.difference)


def test_records_of_this_schema_are_not_parsed(make_record):
    """Their name is a label."""
    record = make_record(variant="v1-a1-r224-c10")
    assert record == upgrade(record)


@pytest.mark.parametrize(
    ("variant", "architecture", "precision", "top1"),
    [
        ("v1-a1-r224", "v1", "fp32", 70.9),
        ("v1-a1-r224-b8", "v1", "fp32", 70.9),
        ("v1-a1-r224-int8", "v1", "int8", 70.0),
        ("v1-a1-r224-fp16", "v1", "fp16", None),
        ("v1-a1-r224-same", "v1", "fp32", None),
        ("v1-a1-r224-c120", "v1", "fp32", None),  # the paper prints 83.3 % of dogs, which is no accuracy on ImageNet
        ("v1-a0.3-r224", "v1", "fp32", None),
        ("shufflenet-v1-a1-r224", "shufflenet-v1", "fp32", 67.4),
        ("shufflenet-v1-g8-a1-r224", "shufflenet-v1", "fp32", 67.6),
        ("shufflenet-v2-torchvision-a1-r224", "shufflenet-v2", "fp32", 69.362),
        ("v3-small-a1-r224-relu", "v3-small", "fp32", None),
        ("v1-a1-r224-plain", "v1", "fp32", None),
        ("v1-a1-r224-bn", "v1", "fp32", None),
        ("mine-a1-r224", "mine", "fp32", None),
        ("own", None, "fp32", None),
    ],
)
def test_published_accuracy_is_of_exactly_that_variant(make_record, variant, architecture, precision, top1):
    """Groups, unit, classes, padding, precision and form must agree; the batch changes no answer."""
    alpha = float(variant.split("-a")[1].split("-")[0]) if architecture else None
    old = make_record(schema=1, variant=variant, architecture=architecture, precision=precision, alpha=alpha)
    accuracy = record_accuracy(upgrade(old))

    assert top1 == (accuracy.percent if accuracy else None)
