"""One connection to another machine for all that runs there: each model crosses it once, and nothing is left behind."""

import atexit
import hashlib
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import execnet
from execnet import gateway_base, gateway_io

from mnbench.errors import GatewayError, MeasureError
from mnbench.targets.device import Device
from mnbench.targets.start import START_S, Process, bootstrapped, command_of, unreached, variables
from mnbench.worker import model_store

END_S = 3.0
"""How long the other side may take to clear up."""

SETTLED_S = 0.5
"""How long it may take to be seen that a connection is lost, once something on it has failed."""

NO_SPACE = "make room there, or name another folder by TMPDIR in the device's ~/.ssh/environment"


LOST = "see that the device is on, and how its memory and its network do"


class Proxy(gateway_io.ProxyIO):
    """A process on the other side, by way of the connection, which may be lost."""

    def __init__(self, channel: Any, execmodel: Any) -> None:
        super().__init__(channel, execmodel)
        self.code: int | None = None
        self._turn = threading.Lock()

    def _controll(self, event: int) -> Any:
        """The answer to one question. As a worker ends, execnet's own thread asks too: each gets its own answer."""
        try:
            with self._turn:
                self.controlchan.send(event)
                return self.controlchan.receive(END_S)
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError):
            return None

    def wait(self, timeout: float | None = None) -> int | None:  # noqa: ARG002  the other side has its own
        """Its exit code, of one that has ended."""
        if self.code is None:
            self.code = self._controll(gateway_io.RIO_WAIT)
        return self.code

    def close_read(self) -> None:
        """As it ends."""


class Keeper:
    """A connection, and the folder on its other side."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._sent: dict[str, str] = {}
        specification = execnet.XSpec(device.gateway)
        self._group = execnet.Group()
        command = command_of(specification, {})
        self._gateway = bootstrapped(
            self._group, lambda: Process(command, self._group.execmodel), specification, device
        )
        self.process: Process = self._gateway._io  # noqa: SLF001
        try:
            self._channel = self._gateway.remote_exec(model_store)
            self._facts = self._answered(self._channel.receive(START_S))
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError) as failure:
            raise unreached(device, self.process, failure) from failure
        atexit.register(self.end)

    @property
    def alive(self) -> bool:
        """Whether the connection still holds, as far as anybody can tell."""
        return self._gateway.hasreceiver()

    def ended(self, timeout_s: float) -> bool:
        """Whether the connection ends within that time."""
        self._gateway.join(timeout_s)
        return not self.alive

    def start(self, specification: Any, environment: Mapping[str, str]) -> Proxy:
        """A process of the same Python there. Temporary files of its libraries go with the folder."""
        near = execnet.XSpec("popen")
        near.python = shlex.join([*variables({**environment, "TMPDIR": self._facts["folder"]}), self._facts["python"]])
        near.execmodel, near.id, near.via = specification.execmodel, specification.id, self._gateway.id
        channel = self._gateway.remote_exec(gateway_io)
        channel.send(vars(near))
        return Proxy(channel, self._group.execmodel)

    def put(self, path: Path) -> str:
        """Where the file lies there; it is sent unless one with the same content was.

        Raises:
            MeasureError: there is no room for it, or the connection is lost.
        """
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()[:32]
        if name not in self._sent:
            try:
                self._channel.send((name, data))
                answer = self._channel.receive()
            except (EOFError, OSError) as failure:
                raise MeasureError(self.lost(), hint=LOST) from failure
            if "error" in answer:
                raise MeasureError(
                    f"the model cannot be written on {self._device.name}: {answer['error']}", hint=NO_SPACE
                )
            self._sent[name] = answer["path"]
        return self._sent[name]

    def lost(self) -> str:
        """What ssh said of a connection that is lost."""
        lines = self.process.said() if self.process.wait(1.0) is not None else []
        return f"the connection to {self._device.name} is lost" + (f": {lines[-1]}" if lines else "")

    def end(self) -> None:
        """End what runs there, and the connection."""
        atexit.unregister(self.end)
        if self.alive:
            try:
                self._channel.send(None)
                self._gateway.join(END_S)
            except OSError:
                pass
        self._group.terminate(timeout=END_S)

    def _answered(self, facts: dict[str, str]) -> dict[str, str]:
        if "error" in facts:
            raise GatewayError(f"device {self._device.name}: {facts['error']}", hint=NO_SPACE)
        return facts


_keepers: dict[str, Keeper] = {}
_lock = threading.Lock()


def keeper_of(device: Device) -> Keeper:
    """The connection to the device's machine, made anew where there is none or it was lost.

    Raises:
        GatewayError: the machine cannot be reached, or runs no Python.
    """
    with _lock:
        found = _keepers.pop(device.gateway, None)
        if found and found.alive:
            _keepers[device.gateway] = found
            return found
        if found:
            found.end()
        _keepers[device.gateway] = Keeper(device)
        return _keepers[device.gateway]


def lost_connection(device: Device) -> str:
    """What became of the connection to the device, if it is lost; nothing else."""
    found = _keepers.get(device.gateway)
    return found.lost() if found and found.ended(SETTLED_S) else ""


def disconnect() -> None:
    """End all connections; later ones are made anew."""
    with _lock:
        while _keepers:
            _keepers.popitem()[1].end()
