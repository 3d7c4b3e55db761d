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

from mnbench.errors import TrialError, UnreachableError
from mnbench.targets.device import Device
from mnbench.targets.start import START_TIMEOUT_S, Process, env_command, start_command, start_error, start_gateway
from mnbench.worker import model_store

END_S = 3.0
"""How long the other side may take to clear up."""

SETTLED_S = 0.5
"""How long it may take to be seen that a connection is lost, once something on it has failed."""

NO_SPACE = "make room there, or name another folder by TMPDIR in the device's ~/.ssh/environment"


LOST_HINT = "see that the device is on, and how its memory and its network do"


class RemoteProcess(gateway_io.ProxyIO):
    """A process on the other side, by way of the connection, which may be lost."""

    def __init__(self, channel: Any, execmodel: Any) -> None:
        super().__init__(channel, execmodel)
        self.exit_code: int | None = None
        self._turn = threading.Lock()

    def _controll(self, event: int) -> Any:
        """Return the answer to one question; execnet's thread may ask at the same time and gets its own answer."""
        try:
            with self._turn:
                self.controlchan.send(event)
                return self.controlchan.receive(END_S)
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError):
            return None

    def wait(self, timeout: float | None = None) -> int | None:  # noqa: ARG002  the other side has its own
        """Return the exit code of an ended process."""
        if self.exit_code is None:
            self.exit_code = self._controll(gateway_io.RIO_WAIT)
        return self.exit_code

    def close_read(self) -> None:
        """Close the stream at the process's end."""


class SshConnection:
    """A connection, and the folder on its other side."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._sent: dict[str, str] = {}
        specification = execnet.XSpec(device.gateway)
        self._group = execnet.Group()
        command = start_command(specification, {})
        self._gateway = start_gateway(
            self._group, lambda: Process(command, self._group.execmodel), specification, device
        )
        self.process: Process = self._gateway._io  # noqa: SLF001
        try:
            self._channel = self._gateway.remote_exec(model_store)
            self._facts = self._answered(self._channel.receive(START_TIMEOUT_S))
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError) as failure:
            raise start_error(device, self.process, failure) from failure
        atexit.register(self.close)

    @property
    def is_alive(self) -> bool:
        """Whether the connection still holds, as far as anybody can tell."""
        return self._gateway.hasreceiver()

    def wait_closed(self, timeout_s: float) -> bool:
        """Whether the connection ends within that time."""
        self._gateway.join(timeout_s)
        return not self.is_alive

    def start_process(self, specification: Any, environment: Mapping[str, str]) -> RemoteProcess:
        """Start a process of the same Python there, with temporary files in the folder that is removed at the end."""
        near = execnet.XSpec("popen")
        near.python = shlex.join(
            [*env_command({**environment, "TMPDIR": self._facts["folder"]}), self._facts["python"]]
        )
        near.execmodel, near.id, near.via = specification.execmodel, specification.id, self._gateway.id
        channel = self._gateway.remote_exec(gateway_io)
        channel.send(vars(near))
        return RemoteProcess(channel, self._group.execmodel)

    def upload(self, path: Path) -> str:
        """Return the file's path there; send it unless one with the same content was sent.

        Raises:
            TrialError: there is no room for it, or the connection is lost.
        """
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()[:32]
        if name not in self._sent:
            try:
                self._channel.send((name, data))
                answer = self._channel.receive()
            except (EOFError, OSError) as failure:
                raise TrialError(self.loss_message(), hint=LOST_HINT) from failure
            if "error" in answer:
                raise TrialError(
                    f"the model cannot be written on {self._device.name}: {answer['error']}", hint=NO_SPACE
                )
            self._sent[name] = answer["path"]
        return self._sent[name]

    def loss_message(self) -> str:
        """Return ssh's message about the lost connection."""
        lines = self.process.stderr_lines() if self.process.wait(1.0) is not None else []
        return f"the connection to {self._device.name} is lost" + (f": {lines[-1]}" if lines else "")

    def close(self) -> None:
        """End what runs there, and the connection."""
        atexit.unregister(self.close)
        if self.is_alive:
            try:
                self._channel.send(None)
                self._gateway.join(END_S)
            except OSError:
                pass
        self._group.terminate(timeout=END_S)

    def _answered(self, facts: dict[str, str]) -> dict[str, str]:
        if "error" in facts:
            raise UnreachableError(f"device {self._device.name}: {facts['error']}", hint=NO_SPACE)
        return facts


_keepers: dict[str, SshConnection] = {}
_lock = threading.Lock()


def connection_to(device: Device) -> SshConnection:
    """Return the connection to the device's machine; connect if there is none or it was lost.

    Raises:
        UnreachableError: the machine cannot be reached, or runs no Python.
    """
    with _lock:
        connection = _keepers.pop(device.gateway, None)
        if connection and connection.is_alive:
            _keepers[device.gateway] = connection
            return connection
        if connection:
            connection.close()
        _keepers[device.gateway] = SshConnection(device)
        return _keepers[device.gateway]


def connection_loss(device: Device) -> str:
    """Return why the connection to the device was lost; empty if it was not."""
    connection = _keepers.get(device.gateway)
    return connection.loss_message() if connection and connection.wait_closed(SETTLED_S) else ""


def close_all() -> None:
    """End all connections; later ones are made anew."""
    with _lock:
        while _keepers:
            _keepers.popitem()[1].close()
