"""A device: where a worker runs, with which runtime and provider."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.spec.decode import Table

Threads: TypeAlias = Annotated[int, msgspec.Meta(ge=1)] | Literal["all"]
"""Of one inference; `all` is as many as the device lets the worker use: its affinity and its quota."""

Core: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Device(Table, frozen=True, kw_only=True):
    """One file of `devices/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    gateway: str
    """An execnet gateway specification: `popen` is this Python on this machine."""
    runtime: Literal["onnxruntime"]
    provider: str
    threads: Threads
    cores: tuple[Core, ...] = ()
    """Cores that the worker is bound to; none: those that the system gives it."""
    options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Session configuration entries of the runtime."""
    provider_options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How far outputs may lie from the reference's, where its arithmetic is coarser than the precision asked for."""

    @property
    def nvidia(self) -> bool:
        """Whether an NVIDIA GPU computes."""
        return self.provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider")
