"""Heads: what stands behind a backbone in place of its classifier, for detection and segmentation.

A backbone is any network up to its last pooling. *C5* is the map that is pooled there, *C4* the last larger map that
all layers behind it come from, and *C3* the output of the last depthwise convolution at an eighth of the input's size.
"""

from typing import NoReturn

from mnbench.errors import BuildError
from mnbench.network.head_options import SEGMENTATION, backbone_stride, embedding_size
from mnbench.network.layer import FUSED_KINDS, OUTPUT, Layer, Tensor
from mnbench.network.layer_builder import LayerBuilder
from mnbench.network.toml_struct import TomlStruct
from mnbench.network.variant import Variant

DEFAULT_CLASSES = {"ssdlite": 91, "ssd": 91, "deeplabv3": 21, "raspp": 19, "lraspp": 19, "crops": 91}
TORCHVISION_CLASSES = DEFAULT_CLASSES | {"lraspp": 21}
"""Those of COCO and of VOC, each with the background, and of Cityscapes."""
DEFAULT_FILTERS = {"deeplabv3": 256, "raspp": 256, "lraspp": 128}

EXTRA_WIDTHS, MIN_EXTRA_WIDTH = (512, 256, 256, 128), 16
"""Of the maps behind C5."""
BOXES, BOXES_OF_FIRST_MAP = 6, 3
"""How many boxes a pixel of a map has."""
ANCHORS = 12
"""How many boxes a pixel of C4 has in Faster R-CNN."""
POOL_SIDE, POOL_STRIDE = 49, (16, 20)
"""Of LR-ASPP's average pooling (MobileNetV3 paper, Figure 10)."""
TORCH_EPSILON = 1e-5


class HeadRow(TomlStruct, frozen=True, kw_only=True, tag_field="type", tag="head"):
    """Stands for the row of a table that a head's layers do not have."""


def add_head(builder: LayerBuilder) -> None:
    """Replace what the network has behind its last map by the variant's head, if it has one.

    Raises:
        BuildError: the network has no pooling of its last map, or no map that the head needs; the head cannot have so
            many classes; or the batch is open, and the head resizes maps to sizes of which it is a part.
    """
    variant = builder.variant
    kind: str | None = variant.option("head")
    if kind is None or embedding_size(variant):
        return
    _check_classes(variant, kind)
    pooling = max((at for at, layer in enumerate(builder.layers) if layer.kind == "global_average_pool"), default=None)
    if pooling is None:
        _refuse(variant, "does not pool its last map as a whole")
    if variant.batch is None and kind in SEGMENTATION:
        raise BuildError(
            f"{variant.architecture.name}: batch dynamic is impossible", hint=f"--head {kind} needs a number of images"
        )
    builder.row = "head", HeadRow()
    c5 = builder.layers[pooling].inputs[0]
    if kind == "crops":
        _add_crops(builder, pooling)
        return
    builder.cut(pooling)
    if kind in SEGMENTATION:
        if variant.architecture.segments_linear_map:
            last = max(at for at, layer in enumerate(builder.layers) if layer.kind == "conv")
            c5 = builder.layers[last].inputs[0]
            builder.cut(last)
        c3 = _find_c3(builder) if kind == "lraspp" else c5
        builder.end_backbone()
        builder.epsilon = TORCH_EPSILON if variant.option("design") else builder.epsilon
        logits = (
            _add_lraspp(builder, c5, c3) if kind == "lraspp" else _add_aspp(builder, c5, atrous=kind == "deeplabv3")
        )
        height, width = variant.resolution
        builder.resize(logits, "resize", height, width, align_corners=not variant.option("design"), name=OUTPUT)
        return
    at = _find_c4(builder)
    c4 = builder.layers[at].output
    if kind == "proposals":
        builder.cut(at + 1)
        _add_proposals(builder, c4)
    else:
        _add_ssd(builder, [c4, c5], lite=kind == "ssdlite")


def _check_classes(variant: Variant, head: str) -> None:
    name, classes, least = variant.architecture.name, variant.classes, 2 if head == "crops" else 1
    if classes is not None and head == "proposals":
        raise BuildError(f"{name}: {classes} classes mean nothing here", hint="--head crops tells classes apart")
    if classes is not None and classes < least:
        raise BuildError(f"{name}: {classes} classes are impossible", hint=f"--head {head} needs at least {least}")


def _find_c4(builder: LayerBuilder) -> int:
    """Return the index of the layer that writes C4."""
    layers, written_behind, read_behind = builder.layers, set[Tensor](), set[Tensor]()
    for at in reversed(range(len(layers))):
        x = layers[at].output
        if builder.stride(x) < builder.stride(layers[-1].output) and read_behind - written_behind == {x}:
            return at
        written_behind.update(layers[at].outputs)
        read_behind.update(layers[at].inputs)
    return _refuse(builder.variant, "has no map that all of its last layers come from")


def _find_c3(builder: LayerBuilder) -> Tensor:
    """Return C3, behind batch normalization and activation; torchvision's is the output of the first block there."""
    layers, torchvision = builder.layers, builder.variant.option("design")
    indices = [at for at, layer in enumerate(layers) if _is_depthwise(layer) and builder.stride(layer.output) == 8]
    if not indices:
        _refuse(builder.variant, "has no depthwise convolution at an eighth of the input's size")
    if torchvision:
        block = layers[indices[0]].scope.partition("/")[0]
        return [layer for layer in layers if layer.scope.startswith(f"{block}/")][-1].output
    at = indices[-1]
    while layers[at + 1].kind in FUSED_KINDS:
        at += 1
    return layers[at].output


def _is_depthwise(layer: Layer) -> bool:
    return layer.kind == "conv" and 1 < layer.groups == layer.output.shape[1]


def _classes(variant: Variant) -> int:
    default = TORCHVISION_CLASSES if variant.option("design") else DEFAULT_CLASSES
    return default[variant.option("head")] if variant.classes is None else variant.classes


def _add_ssd(builder: LayerBuilder, maps: list[Tensor], *, lite: bool) -> None:
    """Add four maps, each half as large as the one before, and predict boxes and scores of every map.

    Outputs: boxes (N, boxes, 4) and scores (N, boxes, classes), map after map.
    """
    variant = builder.variant
    for number, width in enumerate(EXTRA_WIDTHS, 1):
        inside, out = (max(MIN_EXTRA_WIDTH, int(size * variant.alpha)) for size in (width / 2, width))
        scope, stride = f"extra{number}", 2
        x = builder.conv_bn(maps[-1], f"{scope}/reduce", inside, 1, activation="relu6")
        if lite:
            x, stride = builder.depthwise_bn(x, f"{scope}/depthwise", 3, stride, activation="relu6"), 1
        maps.append(builder.conv_bn(x, f"{scope}/expand", out, 1 if lite else 3, stride, activation="relu6"))
    outputs: dict[str, tuple[int, list[Tensor]]] = {"boxes": (4, []), "scores": (_classes(variant), [])}
    for number, x in enumerate(maps, 1):
        boxes = BOXES_OF_FIRST_MAP if number == 1 and not variant.option("design") else BOXES
        for name, (size, parts) in outputs.items():
            scope, y, kernel = f"predictor{number}/{name}", x, variant.architecture.ssd_kernel
            if lite:
                y, kernel = builder.depthwise_bn(x, f"{scope}/depthwise", 3, activation="relu6"), 1
            y = builder.conv(y, scope, boxes * size, kernel, bias=True)
            y = builder.transpose(y, f"{scope}/transpose", (0, 2, 3, 1))
            batch, height, width, _ = y.shape
            parts.append(builder.reshape(y, f"{scope}/reshape", (batch, height * width * boxes, size)))
    builder.outputs = tuple(builder.concat(name, parts) for name, (_, parts) in outputs.items())


def _add_proposals(builder: LayerBuilder, c4: Tensor) -> None:
    """Add Faster R-CNN's proposals: the first of its two graphs, whose outputs are C4, scores and boxes of anchors."""
    x = builder.conv(c4, "proposals/conv", 512, 3, bias=True)
    x = builder.activation(x, "proposals", "relu6")
    scores = builder.conv(x, "scores", 2 * ANCHORS, 1, bias=True)
    builder.outputs = c4, scores, builder.conv(x, "boxes", 4 * ANCHORS, 1, bias=True)


def _add_crops(builder: LayerBuilder, pooling: int) -> None:
    """Leave the layers that read C4: the second graph, of a batch of crops.

    Outputs: scores (N, classes) and boxes (N, 4 · (classes - 1)).
    """
    builder.cut(pooling + 1)
    at = _find_c4(builder)
    builder.begin(at + 1, builder.layers[at].output)
    x = builder.flatten(builder.layers[-1].output)
    classes = _classes(builder.variant)
    scores = builder.fully_connected(x, "scores", classes)
    builder.outputs = scores, builder.fully_connected(x, "boxes", 4 * (classes - 1))


def _add_aspp(builder: LayerBuilder, x: Tensor, *, atrous: bool) -> Tensor:
    """Add DeepLabv3's head, or without its dilated convolutions R-ASPP (MobileNetV3 paper, Section 6.4)."""
    variant = builder.variant
    torchvision, (height, width) = bool(variant.option("design")), x.shape[2:]
    filters = variant.option("filters") or DEFAULT_FILTERS[variant.option("head")]
    stride = backbone_stride(variant)
    if atrous and stride == 32:
        _refuse(variant, "has no DeepLabv3 head at stride 32")
    rates = (12, 24, 36) if torchvision or stride == 8 else (6, 12, 18)
    branches = [
        builder.conv_bn(x, "aspp/1", filters, 1, activation="relu"),
        *(
            builder.conv_bn(x, f"aspp/rate{rate}", filters, 3, dilation=rate, activation="relu")
            for rate in (rates if atrous else ())
        ),
    ]
    y = builder.global_average_pool(x, "aspp/pool")
    y = builder.conv_bn(y, "aspp/pooled", filters, 1, activation="relu")
    branches.append(builder.resize(y, "aspp/spread", height, width, align_corners=not torchvision))
    y = builder.conv_bn(builder.concat("aspp/concat", branches), "project", filters, 1, activation="relu")
    if torchvision:
        y = builder.conv_bn(y, "refine", filters, 3, activation="relu")
    return builder.conv(y, "classifier", _classes(variant), 1, bias=True)


def _add_lraspp(builder: LayerBuilder, x: Tensor, c3: Tensor) -> Tensor:
    """Add LR-ASPP (MobileNetV3 paper, Figure 10); C3 gives it detail."""
    variant = builder.variant
    torchvision, (height, width) = bool(variant.option("design")), x.shape[2:]
    filters = variant.option("filters") or DEFAULT_FILTERS["lraspp"]
    y = builder.conv_bn(x, "filter", filters, 1, activation="relu")
    if torchvision:
        gate = builder.global_average_pool(x, "gate/pool")
    else:
        sides = min(POOL_SIDE, height), min(POOL_SIDE, width)
        gate = builder.average_pool(x, "gate/pool", sides, POOL_STRIDE, sides=(0, 0, 0, 0))
    gate = builder.conv(gate, "gate/conv", filters, 1, bias=not torchvision)
    gate = builder.activation(gate, "gate", "sigmoid")
    gate = builder.resize(gate, "gate/spread", height, width, align_corners=not torchvision)
    y = builder.multiply("gated", y, gate)
    y = builder.resize(y, "enlarged", *c3.shape[2:], align_corners=not torchvision)
    coarse = builder.conv(y, "classifier/coarse", _classes(variant), 1, bias=True)
    return builder.add("classifier", coarse, builder.conv(c3, "classifier/fine", _classes(variant), 1, bias=True))


def _refuse(variant: Variant, problem: str) -> NoReturn:
    head = variant.option("head")
    raise BuildError(f"{variant.architecture.name}: {problem}", hint=f"--head {head} needs another backbone")
