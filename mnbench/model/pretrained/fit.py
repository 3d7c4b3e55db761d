"""A checkpoint onto a variant: by the names of its tensors, each once, at the α that its shapes tell."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np

from mnbench.errors import BuildError
from mnbench.model.pretrained.checkpoint import FLOAT_DTYPES, MAX_NAME_LENGTH, Checkpoint
from mnbench.model.pretrained.layouts import BATCH_COUNTER, ExpectedTensor, expected_tensors
from mnbench.model.random_weights import Weights
from mnbench.model.to_onnx import PretrainedWeights
from mnbench.network.checkpoint_layout import CheckpointLayout
from mnbench.network.layer import Shape
from mnbench.network.network import build_network
from mnbench.network.variant import MAX_ALPHA, MAX_CLASSES, Variant, format_alpha
from mnbench.text import shorten

MAX_LISTED_TENSORS = 12
"""Of missing, extra and misshapen tensors, how many an error names each."""

CLASSIFIERS = ("fc.weight", "classifier.weight", "classifier/fine.weight")
"""Tensors with a row for each class, of networks and of segmentation heads."""


class Mismatches(NamedTuple):
    """How a checkpoint differs from what a variant needs."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def total(self) -> int:
        return sum(map(len, self))

    def __str__(self) -> str:
        kinds = zip(("missing", "extra", "misshapen"), self, strict=True)
        return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds if names)


def fit_checkpoint(
    checkpoint: Checkpoint, variant: Variant, *, alpha: float | None, epsilon: float | None = None
) -> PretrainedWeights:
    """Return the variant with the checkpoint's weights, at `alpha` if given, otherwise at the α that fits.

    Classes, ShuffleNet V1's groups and the ShuffleNets' unit are the checkpoint's where the variant leaves them open.
    `epsilon` is that of batch normalization, where it is not the one that the layout's networks have.

    Raises:
        BuildError: whose names these are is not known; a tensor is missing, extra or misshapen, holds no numbers that
            fp32 can, or some that are not finite.
    """
    layout = _recognized(checkpoint, variant)
    needed = {name: info for name, info in checkpoint.tensors.items() if not name.startswith(layout.ignored)}
    checkpoint = replace(checkpoint, tensors=needed)
    variant = _adapted(checkpoint, variant, layout, epsilon)
    reported = list(_alphas(checkpoint, variant, layout))
    variant, needs, misfits = _closest(checkpoint, _candidates(variant, layout, [alpha] if alpha else reported))
    if misfits.total:
        other, _, others = _closest(checkpoint, _candidates(variant, layout, reported))
        fits = f"they fit alpha {format_alpha(other.alpha)}: leave --alpha out" if not others.total else ""
        raise BuildError(
            f"{checkpoint.path}: is not {variant.architecture.name} at alpha {format_alpha(variant.alpha)} "
            f"as {layout.name} has it: {misfits}",
            hint=fits or "build the graph that these weights are of, at the alpha and with the options that they have",
        )
    weights = _read(checkpoint, needs)
    source = f"{checkpoint.path.name}, sha256 {checkpoint.sha256()}, names of {layout.name}"
    return PretrainedWeights(variant=variant, weights=weights, source=source)


def _recognized(checkpoint: Checkpoint, variant: Variant) -> CheckpointLayout:
    """Return the layout that names most of the tensors.

    Raises:
        BuildError: none has any.
    """
    shares: list[tuple[int, CheckpointLayout, str]] = []
    for layout in variant.architecture.checkpoints:
        layers = build_network(_with_options(variant, layout)).layers
        names = [expected.name for expected in expected_tensors(layout, layers)]
        if names:
            shares.append((sum(name in checkpoint.tensors for name in names), layout, names[0]))
    count, layout, _ = max(shares, key=lambda item: item[0], default=(0, None, ""))
    if not layout or not count:
        known = " or ".join(f"{layout.name}'s (as {name})" for _, layout, name in shares) or "none for this graph"
        raise BuildError(
            f"{checkpoint.path}: its tensors have no known names of {variant.architecture.name}: "
            f"{_listed(checkpoint.tensors) or 'there is none'}",
            hint=f"known names: {known}",
        )
    for option, value in layout.options.items():
        if variant.options.get(option, value) != value:
            wanted = variant.options[option]
            raise BuildError(
                f"{checkpoint.path}: {layout.name}'s tensor names are for {option} {value}, not {wanted}",
                hint=f"leave --{option} out, or give --{option} {value}",
            )
    return layout


def _with_options(variant: Variant, layout: CheckpointLayout) -> Variant:
    """Return the variant with the options of the library's networks, where its graph has them."""
    allowed = variant.architecture.option_values
    options = {option: value for option, value in layout.options.items() if value in allowed(option)}
    return replace(variant, options={**variant.options, **options})


def _adapted(checkpoint: Checkpoint, variant: Variant, layout: CheckpointLayout, epsilon: float | None) -> Variant:
    """Return the variant with the checkpoint's unit, epsilon and number of classes."""
    variant = _with_options(variant, layout)
    known = layout.epsilon if variant.padding == "torch" else layout.same_padding_epsilon
    architecture = msgspec.structs.replace(variant.architecture, batch_norm_epsilon=epsilon or known)
    variant = replace(variant, architecture=architecture)
    expected = expected_tensors(layout, build_network(variant).layers)
    classifier = next((item for item in expected if item.tensor in CLASSIFIERS), None)
    held = checkpoint.tensors.get(classifier.name) if classifier else None
    if classifier and held and held.shape and variant.classes is None:
        classes = held.shape[0]
        # An impossible number of classes is reported as a misshapen tensor.
        if classes != classifier.shape[0] and 1 <= classes <= MAX_CLASSES:
            return replace(variant, classes=classes)
    return variant


def _alphas(checkpoint: Checkpoint, variant: Variant, layout: CheckpointLayout) -> Iterator[float]:
    """Yield the papers' α, then those that a convolution's channels imply."""
    yield from dict.fromkeys((1.0, *variant.architecture.published_alphas()))
    reported: list[float] = []
    for expected in expected_tensors(layout, build_network(replace(variant, alpha=1.0)).layers):
        held = checkpoint.tensors.get(expected.name)
        if held and expected.tensor.endswith("/conv.weight") and held.shape:
            reported.append(held.shape[0] / expected.shape[0])
    for digits in (2, 3, 6):
        yield from dict.fromkeys(round(item, digits) for item in reported if 0 < round(item, digits) <= MAX_ALPHA)


def _candidates(
    variant: Variant, layout: CheckpointLayout, alphas: Iterable[float]
) -> Iterator[tuple[Variant, list[ExpectedTensor]]]:
    """Return the variant at each α and with each value of the options left open that shapes determine."""
    table = variant.architecture
    unset = [name for name, option in table.options.items() if option.inferred and name not in variant.options]
    values = [dict.fromkeys((variant.option(name), *table.option_values(name))) for name in unset]
    for alpha, *chosen in product(dict.fromkeys(alphas), *values):
        options = {**variant.options, **dict(zip(unset, chosen, strict=True))}
        candidate = replace(variant, alpha=alpha, options=options)
        yield candidate, expected_tensors(layout, build_network(candidate).layers)


def _closest(
    checkpoint: Checkpoint, candidates: Iterable[tuple[Variant, list[ExpectedTensor]]]
) -> tuple[Variant, list[ExpectedTensor], Mismatches]:
    """Return the first candidate that fits, or the one with the fewest mismatches."""
    best = None
    for variant, needs in candidates:
        misfits = _misfits(checkpoint, needs)
        if best is None or misfits.total < best[2].total:
            best = variant, needs, misfits
        if not misfits.total:
            break
    assert best
    return best


def _misfits(checkpoint: Checkpoint, needs: Sequence[ExpectedTensor]) -> Mismatches:
    tensors = checkpoint.tensors
    shapes = {item.name: item.shape for item in needs}
    counters = {item.name.replace("running_mean", BATCH_COUNTER) for item in needs if item.tensor.endswith(".mean")}
    return Mismatches(
        [name for name in shapes if name not in tensors],
        [name for name in tensors if name not in shapes and name not in counters],
        [
            f"{name} {tensors[name].shape}, not {shape}"
            for name, shape in shapes.items()
            if name in tensors and not _stands_for(tensors[name].shape, shape)
        ],
    )


def _stands_for(held: Shape, needed: Shape) -> bool:
    """Whether it is the shape, or for a matrix a 1 × 1 convolution's."""
    return held == needed or (len(needed) == 2 and held == (*needed, 1, 1))


def _read(checkpoint: Checkpoint, needs: Sequence[ExpectedTensor]) -> Weights:
    """Read the numbers in fp32, by mnbench's names.

    Raises:
        BuildError: some are of another type, or not finite, or a variance is negative.
    """
    dtypes = {item.name: checkpoint.tensors[item.name].dtype for item in needs}
    other = [f"{name} ({dtype})" for name, dtype in dtypes.items() if dtype not in FLOAT_DTYPES]
    if other:
        raise BuildError(
            f"{checkpoint.path}: holds other numbers than {' and '.join(FLOAT_DTYPES.values())}: {_listed(other)}",
            hint="save the weights as float32",
        )
    arrays = checkpoint.read(dtypes)
    weights = {
        item.tensor: np.ascontiguousarray(array, np.float32).reshape(item.shape)
        for item, array in zip(needs, arrays, strict=True)
    }
    variances = [item for item in needs if item.tensor.endswith(".variance")]
    problems = {
        "numbers that are not finite": [item.name for item in needs if not np.isfinite(weights[item.tensor]).all()],
        "a negative variance": [item.name for item in variances if weights[item.tensor].min() < 0],
    }
    for problem, names in problems.items():
        if names:
            raise BuildError(f"{checkpoint.path}: holds {problem}: {_listed(names)}", hint="train or save it again")
    return weights


def _listed(names: Iterable[str]) -> str:
    short = [shorten(name, MAX_NAME_LENGTH) for name in names]
    more = f" and {len(short) - MAX_LISTED_TENSORS} more" if len(short) > MAX_LISTED_TENSORS else ""
    return ", ".join(short[:MAX_LISTED_TENSORS]) + more
