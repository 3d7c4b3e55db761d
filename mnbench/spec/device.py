"""A device: where a worker runs, with which runtime and provider."""

from typing import Annotated, Literal, TypeAlias

import msgspec

from mnbench.spec.decode import Table

Threads: TypeAlias = Annotated[int, msgspec.Meta(ge=1)] | Literal["all"]
"""Of one inference; `all` is as many as the device lets the worker use: its affinity and its quota."""

Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Core: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Variable: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


FLEET = "dask="
"""How the gateway of a device begins that boards of a Dask scheduler are; its address follows."""


class Device(Table, frozen=True, kw_only=True):
    """One file of `devices/`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    summary: str
    gateway: str
    """An execnet gateway specification: `popen` is this Python on this machine."""
    runtime: str
    """A file of `mnbench/worker/runtimes/`."""
    provider: str
    threads: Threads
    cores: tuple[Core, ...] = ()
    """Cores that the worker is bound to; none: those that the system gives it."""
    options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Session configuration entries of the runtime."""
    provider_options: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    environment: dict[Variable, str] = msgspec.field(default_factory=dict[str, str])
    """Variables that the worker starts with, beside those that it would have."""
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How far outputs may lie from the reference's, where its arithmetic is coarser than the precision asked for."""
    requires: tuple[Text, ...] = ()
    """Packages of an environment of its own; none: this Python's."""
    requires_alone: tuple[Text, ...] = ()
    """Packages that go there without those that they depend on."""
    machine: Literal["", "arm64"] = ""
    """The processor that it is about, if not this machine's own: see `mnbench/measure/arm64.py`."""
    systems: tuple[Literal["Linux", "Darwin", "Windows"], ...] = ()
    """Where it can run; none: anywhere."""
    get: str = ""
    """How to get it, where an environment of its own is not the way."""
    tried: str = ""
    """What was tried of it, and what was not."""

    @property
    def fleet(self) -> bool:
        """Whether boards of a Dask scheduler measure."""
        return self.gateway.startswith(FLEET)

    @property
    def nvidia(self) -> bool:
        """Whether an NVIDIA GPU computes."""
        return self.provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider")

    @property
    def emulated(self) -> bool:
        """Whether its Python is started by QEMU. Where other emulators hide, the facts of its host tell."""
        return "//python=" in self.gateway and "qemu-" in self.gateway.partition("//python=")[2].split(" -")[0]
