"""Which hosts a table, a plot, a fit or a history is of: of one host per device, unless all are asked for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mnbench.errors import ResultsError
from mnbench.results.host_identity import HostIdentity

ALL_HOSTS = "all"


class Measured(Protocol):
    """What was measured on a host of a device; `host_identity` is None if it failed before anything ran there."""

    @property
    def device(self) -> str: ...
    @property
    def measured_at(self) -> str: ...
    @property
    def host_identity(self) -> HostIdentity | None: ...


T = TypeVar("T", bound=Measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSelection(Generic[T]):
    """Items of the selected hosts, and those of other hosts."""

    items: list[T]
    others: list[T]

    def note(self, rows: int) -> list[str]:
        """Return a note that this many rows of other hosts are left out; no note if there are none."""
        hosts = sorted({str(other.host_identity) for other in self.others})
        if not hosts:
            return []
        hidden = f"{rows} row{'s' if rows != 1 else ''} of {len(hosts)} other host{'s' if len(hosts) != 1 else ''}"
        verb = "is" if rows == 1 else "are"
        return [f"{hidden} {verb} left out: {'; '.join(hosts)}. Show them with --host all, or one with --host NAME"]


def select_hosts(items: Iterable[T], host: str | None = None) -> HostSelection[T]:
    """Select the items of each device's host: that of its newest item, or the one of that name or digest, or `all`.

    Items without a host belong to every selection.

    Raises:
        ResultsError: no item is of that host.
    """
    items = list(items)
    if host == ALL_HOSTS:
        return HostSelection(items=items, others=[])
    hosts = [item.host_identity for item in items]
    known = dict.fromkeys(identity for identity in hosts if identity)
    if host is None:
        chosen = _newest_hosts(items, hosts)
    else:
        wanted = {identity for identity in known if identity.matches(host)}
        if not wanted:
            names = "; ".join(map(str, known)) or "none"
            raise ResultsError(f"no results are of host {host}", hint=f"known: {names}; or all")
        chosen = {(item.device, identity) for item in items for identity in wanted}
    pairs = [((item.device, identity), item) for item, identity in zip(items, hosts, strict=True)]
    return HostSelection(
        items=[item for pair, item in pairs if pair[1] is None or pair in chosen],
        others=[item for pair, item in pairs if pair[1] is not None and pair not in chosen],
    )


def _newest_hosts(items: Sequence[Measured], hosts: Sequence[HostIdentity | None]) -> set[tuple[str, HostIdentity]]:
    """Return each device with the host of its newest item; of several from one second, the last."""
    newest: dict[str, tuple[str, HostIdentity]] = {}
    for item, identity in zip(items, hosts, strict=True):
        if identity and item.measured_at >= newest.get(item.device, ("",))[0]:
            newest[item.device] = item.measured_at, identity
    return {(device, identity) for device, (_, identity) in newest.items()}
