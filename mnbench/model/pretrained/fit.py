"""A checkpoint onto a variant: by the names of its tensors, each once, at the α that its shapes tell."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import msgspec
import numpy as np

from mnbench.errors import BuildError
from mnbench.families.shufflenet import ShuffleNetV1, ShuffleNetV2
from mnbench.model.pretrained.checkpoint import FLOAT_DTYPES, Checkpoint, to_printable
from mnbench.model.pretrained.layouts import (
    BATCH_COUNTER,
    CheckpointLayout,
    ExpectedTensor,
    expected_tensors,
    find_layouts,
)
from mnbench.model.random_weights import Weights
from mnbench.model.to_onnx import PretrainedWeights
from mnbench.network.architecture import Architecture
from mnbench.network.layer import Shape
from mnbench.network.network import build_network
from mnbench.network.variant import MAX_ALPHA, MAX_CLASSES, Variant, format_alpha

MAX_LISTED_TENSORS = 12
"""Of missing, extra and misshapen tensors, how many an error names each."""

GROUPS = (3, 1, 2, 4, 8)

CLASSIFIER = "fc.weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCheckpoint:
    """A variant as a checkpoint has it, the weights, and whose names they had."""

    variant: Variant
    pretrained: PretrainedWeights = field(repr=False)
    layout: str


class Mismatches(NamedTuple):
    """How a checkpoint differs from what a variant needs."""

    missing: list[str]
    unexpected: list[str]
    misshapen: list[str]

    @property
    def total(self) -> int:
        """How many tensors."""
        return sum(map(len, self))

    def __str__(self) -> str:
        kinds = zip(("missing", "extra", "misshapen"), self, strict=True)
        return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds if names)


def fit_checkpoint(
    checkpoint: Checkpoint, variant: Variant, *, alpha: float | None, epsilon: float | None = None
) -> FittedCheckpoint:
    """The variant with the checkpoint's weights, at the α that fits, or at `alpha` and no other.

    Classes, ShuffleNet V1's groups and the ShuffleNets' unit are the checkpoint's where the variant leaves them open.
    `epsilon` is that of batch normalization, where it is not the one that the naming's networks have.

    Raises:
        BuildError: whose names these are is not known; a tensor is missing, extra or misshapen, holds no numbers that
            fp32 can, or some that are not finite.
    """
    naming = _recognized(checkpoint, variant)
    variant = _adapted(checkpoint, variant, naming, epsilon)
    reported = list(_alphas(checkpoint, variant, naming))
    variant, needs, misfits = _closest(checkpoint, _candidates(variant, naming, [alpha] if alpha else reported))
    if misfits.total:
        other, _, others = _closest(checkpoint, _candidates(variant, naming, reported))
        fits = f"they fit alpha {format_alpha(other.alpha)}: leave --alpha out" if not others.total else ""
        raise BuildError(
            f"{checkpoint.path}: is not {variant.architecture.name} at alpha {format_alpha(variant.alpha)} "
            f"as {naming.name} has it: {misfits}",
            hint=fits or "build the graph that these weights are of, at the alpha and with the options that they have",
        )
    weights = _read(checkpoint, needs)
    source = f"{checkpoint.path.name}, sha256 {checkpoint.sha256()}, names of {naming.name}"
    return FittedCheckpoint(variant=variant, pretrained=PretrainedWeights(weights, source), layout=naming.name)


def _recognized(checkpoint: Checkpoint, variant: Variant) -> CheckpointLayout:
    """The naming that has names for most of the tensors.

    Raises:
        BuildError: none has any.
    """
    shares: list[tuple[int, CheckpointLayout, str]] = []
    for naming in find_layouts(variant.architecture):
        names = [
            expected.name for expected in expected_tensors(naming, build_network(_with_unit(variant, naming)).layers)
        ]
        if names:
            shares.append((sum(name in checkpoint.tensors for name in names), naming, names[0]))
    count, naming, _ = max(shares, key=lambda item: item[0], default=(0, None, ""))
    if not naming or not count:
        known = (
            " or ".join(f"{checkpoint_layout.name}'s (as {name})" for _, checkpoint_layout, name in shares)
            or "none for this graph"
        )
        raise BuildError(
            f"{checkpoint.path}: its tensors have no known names of {variant.architecture.name}: "
            f"{_listed(checkpoint.tensors) or 'there is none'}",
            hint=f"known names: {known}",
        )
    if variant.unit and naming.unit and variant.unit != naming.unit:
        raise BuildError(
            f"{checkpoint.path}: has {naming.name}'s names, whose unit is not {variant.unit}",
            hint=f"leave --unit out, or give --unit {naming.unit}",
        )
    return naming


def _with_unit(variant: Variant, naming: CheckpointLayout) -> Variant:
    units = variant.architecture.units if isinstance(variant.architecture, ShuffleNetV1 | ShuffleNetV2) else {}
    return replace(variant, unit=naming.unit) if naming.unit in units else variant


def _adapted(checkpoint: Checkpoint, variant: Variant, naming: CheckpointLayout, epsilon: float | None) -> Variant:
    """With the unit, the epsilon and the number of classes that the checkpoint has."""
    variant = _with_unit(variant, naming)
    known = naming.epsilon if variant.padding == "torch" else naming.same_padding_epsilon
    architecture = msgspec.structs.replace(variant.architecture, batch_norm_epsilon=epsilon or known)
    layers = build_network(variant).layers
    classifier = next(
        (expected for expected in expected_tensors(naming, layers) if expected.tensor == CLASSIFIER), None
    )
    held = checkpoint.tensors.get(classifier.name) if classifier else None
    if classifier and held and held.shape and variant.classes is None and held.shape[0] != classifier.shape[0]:
        # A number that cannot be is one of the misfits.
        classes = held.shape[0] if 1 <= held.shape[0] <= MAX_CLASSES else None
        return replace(variant, architecture=architecture, classes=classes)
    return replace(variant, architecture=architecture)


def _alphas(checkpoint: Checkpoint, variant: Variant, naming: CheckpointLayout) -> Iterator[float]:
    """Those that the papers have, and then those that a convolution's channels tell."""
    architecture = variant.architecture
    yield from dict.fromkeys((1.0, *_published(architecture)))
    reported: list[float] = []
    for expected in expected_tensors(naming, build_network(replace(variant, alpha=1.0)).layers):
        held = checkpoint.tensors.get(expected.name)
        if held and expected.tensor.endswith("/conv.weight") and held.shape:
            reported.append(held.shape[0] / expected.shape[0])
    for digits in (2, 3, 6):
        yield from dict.fromkeys(round(item, digits) for item in reported if 0 < round(item, digits) <= MAX_ALPHA)


def _published(architecture: Architecture) -> Sequence[float]:
    if isinstance(architecture, ShuffleNetV1 | ShuffleNetV2):
        return architecture.alphas
    return sorted({figure.alpha for figure in architecture.published}, reverse=True)


def _candidates(
    variant: Variant, naming: CheckpointLayout, alphas: Iterable[float]
) -> Iterator[tuple[Variant, list[ExpectedTensor]]]:
    """The variant at each α and, where they are left open, with each number of groups."""
    open_groups = isinstance(variant.architecture, ShuffleNetV1) and variant.groups is None
    groups = GROUPS if open_groups else (variant.groups,)
    for alpha, count in product(dict.fromkeys(alphas), groups):
        candidate = replace(variant, alpha=alpha, groups=count)
        yield candidate, expected_tensors(naming, build_network(candidate).layers)


def _closest(
    checkpoint: Checkpoint, candidates: Iterable[tuple[Variant, list[ExpectedTensor]]]
) -> tuple[Variant, list[ExpectedTensor], Mismatches]:
    """The first candidate that fits, or the one with the fewest misfits."""
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
    shapes = {expected.name: expected.shape for expected in needs}
    counters = {
        expected.name.replace("running_mean", BATCH_COUNTER) for expected in needs if expected.tensor.endswith(".mean")
    }
    both = [name for name in shapes if name in tensors]
    return Mismatches(
        [name for name in shapes if name not in tensors],
        [name for name in tensors if name not in shapes and name not in counters],
        [
            f"{name} {tensors[name].shape}, not {shapes[name]}"
            for name in both
            if not _stands_for(tensors[name].shape, shapes[name])
        ],
    )


def _stands_for(held: Shape, needed: Shape) -> bool:
    """Whether it is the shape, or for a matrix a 1 × 1 convolution's."""
    return held == needed or (len(needed) == 2 and held == (*needed, 1, 1))


def _read(checkpoint: Checkpoint, needs: Sequence[ExpectedTensor]) -> Weights:
    """The numbers, in fp32, by our own names.

    Raises:
        BuildError: some are of another type, or not finite, or a variance is negative.
    """
    kinds = {expected.name: checkpoint.tensors[expected.name].dtype for expected in needs}
    other = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in FLOAT_DTYPES]
    if other:
        raise BuildError(
            f"{checkpoint.path}: holds other numbers than {' and '.join(FLOAT_DTYPES.values())}: {_listed(other)}",
            hint="save the weights as float32",
        )
    weights: Weights = {}
    for expected, array in zip(needs, checkpoint.read(expected.name for expected in needs), strict=True):
        weights[expected.tensor] = np.ascontiguousarray(array, np.float32).reshape(expected.shape)
    names = {expected.tensor: expected.name for expected in needs}
    wrong = [names[tensor] for tensor, array in weights.items() if not np.isfinite(array).all()]
    if wrong:
        raise BuildError(
            f"{checkpoint.path}: holds numbers that are not finite: {_listed(wrong)}", hint="train or save it again"
        )
    negative = [names[tensor] for tensor, array in weights.items() if tensor.endswith(".variance") and array.min() < 0]
    if negative:
        raise BuildError(
            f"{checkpoint.path}: holds a negative variance: {_listed(negative)}", hint="train or save it again"
        )
    return weights


def _listed(names: Iterable[str]) -> str:
    every = list(map(to_printable, names))
    more = f" and {len(every) - MAX_LISTED_TENSORS} more" if len(every) > MAX_LISTED_TENSORS else ""
    return ", ".join(every[:MAX_LISTED_TENSORS]) + more
