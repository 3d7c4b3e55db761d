"""The options of heads, which stand behind a network's last map in place of its classifier."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mnbench.network.architecture import Option

if TYPE_CHECKING:
    from mnbench.network.variant import Variant

DETECTION, SEGMENTATION, FASTER_RCNN = ("ssdlite", "ssd"), ("deeplabv3", "raspp", "lraspp"), ("proposals", "crops")

HEAD_OPTIONS: Mapping[str, Option] = {
    "head": Option(values=(*DETECTION, *SEGMENTATION, *FASTER_RCNN), after_size=True),
    "design": Option(values=("torchvision",), after_size=True, needs={"head": ("ssdlite", "deeplabv3", "lraspp")}),
    "filters": Option(values=(32, 64, 128, 256, 512), spelling="f{}", after_size=True, needs={"head": SEGMENTATION}),
    "stride": Option(values=(8, 16, 32), spelling="os{}", after_size=True, needs={"head": SEGMENTATION}),
}
"""`design` is whose variant of the head it is, where not the paper's. `stride` is that of the last map; by default 16."""

TAIL_OPTION: Mapping[str, Option] = {
    "tail": Option(values=("halved",), after_size=True, needs={"head": (*DETECTION, *SEGMENTATION)})
}
"""Half the channels behind C4: † of the MobileNetV3 paper's Table 6, and with a segmentation head RF2 of its Table 7."""


def backbone_stride(variant: "Variant") -> int | None:
    """Return the stride that the backbone's maps must not exceed; None if there is no limit."""
    return variant.option("stride") or (16 if variant.option("head") in SEGMENTATION else None)


def has_halved_first_expansion(variant: "Variant") -> bool:
    """Return whether the first expansion of a halved tail is halved too; a detector reads it as C4, and keeps it."""
    return variant.option("head") in SEGMENTATION
