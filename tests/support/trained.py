"""PyTorch's own networks with weights as training leaves them, for tests that compare ours with them."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make torch", exc_type=ImportError)


def _operators():
    """Declare what torchvision's compiled part has: built for CUDA, it cannot be loaded beside a PyTorch for CPUs."""
    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # libraries warn of each other
    _operators()
    timm = pytest.importorskip("timm", reason="timm is not installed: make torch", exc_type=ImportError)
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed: make torch")

torch.set_num_threads(1)  # the suite's processes have the cores between them: threads that wait for one cost both

nn = torch.nn


def seeded(network, seed=0):
    """Random weights and biases; statistics of batch normalization near what training would leave, and random too.

    Far from it, fifty layers make so much of the last bit that PyTorch in float32 is not itself in float64.
    """
    random = torch.Generator().manual_seed(seed)

    def between(tensor, low, high):
        return low + (high - low) * torch.rand(tensor.shape, generator=random)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                spread = module.weight[0].numel() ** -0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=random) * spread)
                if module.bias is not None:
                    module.bias.copy_(between(module.bias, -0.5, 0.5))
        for norm in norms:
            norm.momentum = None
            norm.reset_running_stats()
            norm.weight.copy_(between(norm.weight, 0.75, 1.25))
            norm.bias.copy_(between(norm.bias, -0.25, 0.25))
        if norms:
            side = getattr(network, "seeded_side", 160)
            network.train()(torch.randn(4, 3, side, side, generator=random))
        for norm in norms:
            norm.running_mean += norm.running_var.sqrt() * between(norm.running_mean, -0.25, 0.25)
            norm.running_var *= between(norm.running_var, 0.75, 1.25)
    return network.eval()


def conv(inputs, outputs, kernel, stride=1, groups=1):
    """A convolution without bias and its batch normalization."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class MegviiUnitV1(nn.Module):
    """ShuffleNet V1's unit (paper, Figure 2), its channels shuffled as its authors' code does: (n, g) to (g, n)."""

    def __init__(self, inputs, outputs, groups, *, first, stride):
        super().__init__()
        inside, added = outputs // 4, outputs - inputs if stride == 2 else outputs
        self.groups = groups
        self.branch_main_1 = nn.Sequential(
            *conv(inputs, inside, 1, groups=1 if first else groups), nn.ReLU(), *conv(inside, inside, 3, stride, inside)
        )
        self.branch_main_2 = nn.Sequential(*conv(inside, added, 1, groups=groups))
        self.pool = nn.AvgPool2d(3, 2, 1) if stride == 2 else None

    def forward(self, x):
        y = self.branch_main_1(x)
        y = y.unflatten(1, (-1, self.groups)).transpose(1, 2).flatten(1, 2)
        y = self.branch_main_2(y)
        return torch.relu(x + y) if self.pool is None else torch.cat((self.pool(x), torch.relu(y)), 1)


class MegviiUnitV2(nn.Module):
    """ShuffleNet V2's units (paper, Figure 3), their channels parted first: even ones stay, odd ones are worked on."""

    def __init__(self, inputs, outputs, *, stride):
        super().__init__()
        inside, read = outputs // 2, inputs if stride == 2 else inputs // 2
        self.branch_main = nn.Sequential(
            *conv(read, inside, 1),
            nn.ReLU(),
            *conv(inside, inside, 3, stride, inside),
            *conv(inside, outputs - read, 1),
            nn.ReLU(),
        )
        shortcut = nn.Sequential(*conv(inputs, inputs, 3, 2, inputs), *conv(inputs, inputs, 1), nn.ReLU())
        self.branch_proj = shortcut if stride == 2 else None

    def forward(self, x):
        stored, read = (x[:, ::2], x[:, 1::2]) if self.branch_proj is None else (self.branch_proj(x), x)
        return torch.cat((stored, self.branch_main(read)), 1)


class Megvii(nn.Module):
    """Both of Megvii's ShuffleNets, by the names of its code; the whole last map is pooled, whatever its size."""

    def __init__(self, stem, stages, unit, last=None):
        super().__init__()
        self.first_conv = nn.Sequential(*conv(3, stem, 3, 2), nn.ReLU())
        units, channels = [], stem
        for outputs, repeats in zip(stages, (4, 8, 4), strict=True):
            for repeat in range(repeats):
                units.append(unit(channels, outputs, first=not units, stride=1 if repeat else 2))
                channels = outputs
        self.features = nn.Sequential(*units)
        self.conv_last = nn.Sequential(*conv(channels, last, 1), nn.ReLU()) if last else None
        self.classifier = nn.Sequential(nn.Linear(last or channels, 1000, bias=False))

    def forward(self, x):
        x = self.features(nn.functional.max_pool2d(self.first_conv(x), 3, 2, 1))
        x = self.conv_last(x) if self.conv_last else x
        return self.classifier(x.mean((2, 3)))


def megvii_v1(groups, stem, stages):
    """ShuffleNet V1."""

    def unit(inputs, outputs, *, first, stride):
        return MegviiUnitV1(inputs, outputs, groups, first=first, stride=stride)

    return Megvii(stem, stages, unit)


def megvii_v2(stages, last):
    """ShuffleNet V2."""

    def unit(inputs, outputs, *, first, stride):  # noqa: ARG001
        return MegviiUnitV2(inputs, outputs, stride=stride)

    return Megvii(24, stages, unit, last)


class Raw(nn.Module):
    """What a network with a head outputs before boxes are decoded; its checkpoint has the network's own names."""

    def __init__(self, network, seeded_side):
        super().__init__()
        self.network, self.seeded_side = network, seeded_side

    def forward(self, x):
        if not hasattr(self.network, "anchor_generator"):
            return self.network(x)["out"]
        if not self.training:  # in float32, PyTorch's boxes are 7e-5 away from these
            self.network, x = self.network.double(), x.double()
        outputs = self.network.head(list(self.network.backbone(x).values()))
        return outputs["bbox_regression"], outputs["cls_logits"]

    def state_dict(self):
        return self.network.state_dict()


def with_head(create, seeded_side=160):
    """One of torchvision's networks for detection or segmentation."""
    return Raw(create(weights=None, weights_backbone=None), seeded_side)


SAME = ("--padding", "same")

NETWORKS = {
    "timm mobilenetv1_100": ("v1", 1, (), lambda: timm.create_model("mobilenetv1_100")),
    "timm mobilenetv1_125": ("v1", 1.25, (), lambda: timm.create_model("mobilenetv1_125")),
    "torchvision mobilenet_v2 0.5": ("v2", 0.5, (), lambda: models.mobilenet_v2(width_mult=0.5)),
    "torchvision mobilenet_v2": ("v2", 1, (), models.mobilenet_v2),
    "torchvision mobilenet_v2 1.4": ("v2", 1.4, (), lambda: models.mobilenet_v2(width_mult=1.4)),
    "timm mobilenetv2_050": ("v2", 0.5, (), lambda: timm.create_model("mobilenetv2_050")),
    "timm mobilenetv2_100": ("v2", 1, (), lambda: timm.create_model("mobilenetv2_100")),
    "timm mobilenetv2_140": ("v2", 1.4, (), lambda: timm.create_model("mobilenetv2_140")),
    "torchvision mobilenet_v3_large": ("v3-large", 1, (), models.mobilenet_v3_large),
    "torchvision mobilenet_v3_small": ("v3-small", 1, (), models.mobilenet_v3_small),
    "timm mobilenetv3_large_075": ("v3-large", 0.75, (), lambda: timm.create_model("mobilenetv3_large_075")),
    "timm mobilenetv3_large_100": ("v3-large", 1, (), lambda: timm.create_model("mobilenetv3_large_100")),
    "timm mobilenetv3_small_075": ("v3-small", 0.75, (), lambda: timm.create_model("mobilenetv3_small_075")),
    "timm mobilenetv3_small_100": ("v3-small", 1, (), lambda: timm.create_model("mobilenetv3_small_100")),
    "timm tf_mobilenetv3_large_100": ("v3-large", 1, SAME, lambda: timm.create_model("tf_mobilenetv3_large_100")),
    "timm tf_mobilenetv3_small_075": ("v3-small", 0.75, SAME, lambda: timm.create_model("tf_mobilenetv3_small_075")),
    "timm tf_mobilenetv3_small_100": ("v3-small", 1, SAME, lambda: timm.create_model("tf_mobilenetv3_small_100")),
    "timm tf_mobilenetv3_large_minimal_100": (
        *("v3-large-minimal", 1, SAME),
        lambda: timm.create_model("tf_mobilenetv3_large_minimal_100"),
    ),
    "timm tf_mobilenetv3_small_minimal_100": (
        *("v3-small-minimal", 1, SAME),
        lambda: timm.create_model("tf_mobilenetv3_small_minimal_100"),
    ),
    "torchvision shufflenet_v2_x0_5": ("shufflenet-v2", 0.5, (), models.shufflenet_v2_x0_5),
    "torchvision shufflenet_v2_x1_0": ("shufflenet-v2", 1, (), models.shufflenet_v2_x1_0),
    "torchvision shufflenet_v2_x1_5": ("shufflenet-v2", 1.5, (), models.shufflenet_v2_x1_5),
    "torchvision shufflenet_v2_x2_0": ("shufflenet-v2", 2, (), models.shufflenet_v2_x2_0),
    "Megvii ShuffleNetV1 0.5x g3": ("shufflenet-v1", 0.5, (), lambda: megvii_v1(3, 12, (120, 240, 480))),
    "Megvii ShuffleNetV1 1.0x g3": ("shufflenet-v1", 1, (), lambda: megvii_v1(3, 24, (240, 480, 960))),
    "Megvii ShuffleNetV1 0.5x g8": ("shufflenet-v1", 0.5, (), lambda: megvii_v1(8, 16, (192, 384, 768))),
    "Megvii ShuffleNetV1 1.0x g8": ("shufflenet-v1", 1, (), lambda: megvii_v1(8, 24, (384, 768, 1536))),
    "Megvii ShuffleNetV2 0.5x": ("shufflenet-v2", 0.5, (), lambda: megvii_v2((48, 96, 192), 1024)),
    "Megvii ShuffleNetV2 1.0x": ("shufflenet-v2", 1, (), lambda: megvii_v2((116, 232, 464), 1024)),
    "torchvision squeezenet1_0": ("squeezenet-1.0", 1, (), models.squeezenet1_0),
    "torchvision squeezenet1_1": ("squeezenet-1.1", 1, (), models.squeezenet1_1),
    "torchvision alexnet": ("alexnet-torchvision", 1, (), models.alexnet),
    "torchvision vgg16": ("vgg16", 1, (), models.vgg16),
    "torchvision googlenet": (
        *("googlenet-torchvision", 1, ()),
        lambda: models.googlenet(aux_logits=False, init_weights=False),
    ),
    "torchvision inception_v3": (
        *("inception-v3", 1, ()),
        lambda: models.inception_v3(aux_logits=False, init_weights=False),
    ),
    "torchvision resnet50": ("resnet50-torchvision", 1, (), models.resnet50),
    "torchvision resnext50_32x4d": ("resnext50", 1, (), models.resnext50_32x4d),
    "torchvision densenet121": ("densenet121", 1, (), models.densenet121),
    "torchvision mnasnet0_5": ("mnasnet-b1", 0.5, (), models.mnasnet0_5),
    "torchvision mnasnet1_0": ("mnasnet-b1", 1, (), models.mnasnet1_0),
    "timm semnasnet_100": ("mnasnet-a1", 1, (), lambda: timm.create_model("semnasnet_100")),
    "timm legacy_xception": ("xception", 1, (), lambda: timm.create_model("legacy_xception")),
    "timm efficientnet_lite0": ("efficientnet-lite0", 1, (), lambda: timm.create_model("efficientnet_lite0")),
    "timm tf_efficientnet_lite0": ("efficientnet-lite0", 1, SAME, lambda: timm.create_model("tf_efficientnet_lite0")),
    "torchvision ssdlite320_mobilenet_v3_large": (
        *("v3-large", 1, ()),
        lambda: with_head(models.detection.ssdlite320_mobilenet_v3_large, seeded_side=1280),
    ),
    "torchvision lraspp_mobilenet_v3_large": (
        *("v3-large", 1, ()),
        lambda: with_head(models.segmentation.lraspp_mobilenet_v3_large),
    ),
    "torchvision deeplabv3_mobilenet_v3_large": (
        *("v3-large", 1, ()),
        lambda: with_head(models.segmentation.deeplabv3_mobilenet_v3_large),
    ),
}
"""Of each, our graph, its α, what else `mnbench build` must be told, and how it is made."""

SIZES = {
    "torchvision alexnet": ((224, 224), (239, 249)),
    "torchvision vgg16": ((231, 257),),
    "torchvision inception_v3": ((299, 299), (97, 131)),
    "torchvision resnet50": ((224, 224), (97, 131)),
    "torchvision resnext50_32x4d": ((224, 224), (97, 131)),
    "torchvision densenet121": ((224, 224), (97, 131)),
    "timm legacy_xception": ((299, 299), (97, 131)),
    "torchvision ssdlite320_mobilenet_v3_large": ((320, 320), (257, 331)),
}
"""At which sizes networks are compared, where not at the usual ones."""
