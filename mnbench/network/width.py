"""How α reaches channels."""

from mnbench.spec.architecture import Width


def scaled(printed: int, alpha: float, width: Width) -> int:
    """Channels at width multiplier `alpha` of a row whose printed channels are those at α = 1.

    The printed number × α, rounded down to a multiple of `width.divisor`, never under `width.minimum` (slim's
    mobilenet_v1.py, `depth(d) = max(int(d * depth_multiplier), min_depth)`). Monotone in α.
    """
    return max(int(printed * alpha) // width.divisor * width.divisor, width.minimum)
