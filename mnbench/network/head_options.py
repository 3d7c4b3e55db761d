"""The options of heads, which stand behind a network's last map in place of its classifier."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mnbench.network.architecture import Option

if TYPE_CHECKING:
    from mnbench.network.variant import Variant

EMBEDDING = "embedding"
EMBEDDINGS = tuple(f"{EMBEDDING}{size}" for size in (32, 64, 128, 256, 512))
DETECTION, SEGMENTATION, FASTER_RCNN = ("ssdlite", "ssd"), ("deeplabv3", "raspp", "lraspp"), ("proposals", "crops")

HEAD = "What stands behind the last map in place of the classifier"

HEAD_OPTIONS: Mapping[str, Option] = {
    "head": Option(values=(*DETECTION, *SEGMENTATION, *FASTER_RCNN, *EMBEDDINGS), after_size=True, about=HEAD),
    "design": Option(
        values=("torchvision",),
        after_size=True,
        needs={"head": ("ssdlite", "deeplabv3", "lraspp")},
        about="Whose variant of the head it is, in place of the paper's",
    ),
    "filters": Option(
        values=(32, 64, 128, 256, 512),
        spelling="f{}",
        after_size=True,
        needs={"head": SEGMENTATION},
        about="Channels inside a segmentation head",
    ),
    "stride": Option(
        values=(8, 16, 32),
        spelling="os{}",
        after_size=True,
        needs={"head": SEGMENTATION},
        about="Pixels of the image between two of the last map; 16 by default",
    ),
}

TAIL_OPTION: Mapping[str, Option] = {
    "tail": Option(
        values=("halved",),
        after_size=True,
        needs={"head": (*DETECTION, *SEGMENTATION)},
        about="Half the channels in the last blocks, † and RF2 of the MobileNetV3 paper",
    )
}


def embedding_size(variant: "Variant") -> int:
    """Return how many numbers an embedding has; 0 if the variant has none."""
    head = str(variant.option("head") or "")
    return int(head.removeprefix(EMBEDDING)) if head.startswith(EMBEDDING) else 0


def backbone_stride(variant: "Variant") -> int | None:
    """Return the stride that the backbone's maps must not exceed; None if there is no limit."""
    return variant.option("stride") or (16 if variant.option("head") in SEGMENTATION else None)


def has_halved_first_expansion(variant: "Variant") -> bool:
    """Return whether the first expansion of a halved tail is halved too; a detector reads it as C4, and keeps it."""
    return variant.option("head") in SEGMENTATION
