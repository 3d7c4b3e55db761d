"""One ssh connection per machine: each model is sent once, and nothing remains there afterwards."""

import atexit
import hashlib
import shlex
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import execnet
from execnet import gateway_base, gateway_io

from mnbench.errors import TrialError, UnreachableError
from mnbench.programs import calling_after, clean_environment
from mnbench.targets.answers import Failure, StoredModel, StoreFacts, decode_answer, error_text
from mnbench.targets.device import Device
from mnbench.targets.start import BOOTSTRAP, START_TIMEOUT_S, Process, start_command, start_error, start_gateway
from mnbench.text import printable
from mnbench.worker import model_store

END_S = 3.0
"""Time limit for the other side to clean up."""

SETTLED_S = 0.5
"""Time to wait, after a failure, for the news that the connection is lost."""

UPLOAD_TIMEOUT_S = 60.0
SLOW_BYTES_PER_S = 100_000
"""The slowest connection over which a model is sent."""

NO_SPACE = "free space there, or name another folder by TMPDIR in the device's ~/.ssh/environment"
LOST_HINT = "check that the device is on, and its memory and network"


class RemoteProcess(gateway_io.ProxyIO):
    """A process on the other side of a connection that may be lost."""

    def __init__(self, channel: Any, connection: Process, execmodel: Any) -> None:
        super().__init__(channel, execmodel)
        self.abort = connection.kill
        """Ends the connection: the other side may not read."""
        self.exit_code: int | None = None
        self._turn = threading.Lock()

    def _controll(self, event: int) -> Any:
        """Ask one question. When a worker ends, execnet's own thread asks too, so the lock keeps answers apart."""
        try:
            with self._turn:
                self.controlchan.send(event)
                return self.controlchan.receive(END_S)
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError):
            return None

    def wait(self, timeout: float | None = None) -> int | None:  # noqa: ARG002  the other side has its own limit
        if self.exit_code is None:
            self.exit_code = self._controll(gateway_io.RIO_WAIT)
        return self.exit_code

    def close_read(self) -> None:
        """Do nothing: the pipe ends with the process."""


class SshConnection:
    """A connection, and the folder on the other side."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._sent: dict[str, str] = {}
        specification = execnet.XSpec(device.gateway)
        self._group = execnet.Group()
        start = partial(Process, start_command(specification), clean_environment(), self._group.execmodel)
        self._gateway = start_gateway(self._group, start, specification, device)
        self.process: Process = self._gateway._io  # noqa: SLF001
        try:
            self._channel = self._gateway.remote_exec(model_store)
            facts = decode_answer(f"device {device.name}", self._channel.receive(START_TIMEOUT_S), StoreFacts)
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError) as failure:
            raise start_error(device, self.process, failure) from failure
        if isinstance(facts, Failure):
            raise UnreachableError(f"device {device.name}: {error_text(facts.error)}", hint=NO_SPACE)
        self._facts = facts
        atexit.register(self.close)

    @property
    def is_alive(self) -> bool:
        """Whether the connection is not known to be lost."""
        return self._gateway.hasreceiver()

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait for the connection's end; return whether it came in time."""
        self._gateway.join(timeout_s)
        return not self.is_alive

    def start_process(self, specification: Any, environment: Mapping[str, str]) -> RemoteProcess:
        """Start a process of the same Python there. Temporary files of its libraries go into the folder."""
        child = execnet.XSpec("popen")
        variables = (f"{name}={value}" for name, value in {**environment, "TMPDIR": self._facts.folder}.items())
        # execnet adds its own `-c`, which becomes an argument.
        child.python = shlex.join(["env", *variables, self._facts.python, "-u", "-c", BOOTSTRAP])
        child.execmodel, child.id, child.via = specification.execmodel, specification.id, self._gateway.id
        channel = self._gateway.remote_exec(gateway_io)
        channel.send(vars(child))
        self.process.received_bytes = 0
        return RemoteProcess(channel, self.process, self._group.execmodel)

    def upload(self, path: Path) -> str:
        """Return the file's path there; send it, unless its content was sent before."""
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()[:32]
        if name not in self._sent:
            limit_s = UPLOAD_TIMEOUT_S + len(data) / SLOW_BYTES_PER_S
            try:
                with calling_after(limit_s, self.process.kill):
                    self._channel.send((name, data))
                    message = self._channel.receive(limit_s)
            except (EOFError, OSError) as failure:
                raise TrialError(self.loss_message(), hint=LOST_HINT) from failure
            answer = decode_answer(f"device {self._device.name}", message, StoredModel)
            if isinstance(answer, Failure):
                raise TrialError(
                    f"the model cannot be written on {self._device.name}: {error_text(answer.error)}", hint=NO_SPACE
                )
            self._sent[name] = answer.path
        return self._sent[name]

    def loss_message(self) -> str:
        """Return ssh's last line about a lost connection."""
        lines = self.process.stderr_lines() if self.process.wait(1.0) is not None else []
        return f"the connection to {self._device.name} is lost" + (f": {printable(lines[-1])}" if lines else "")

    def close(self) -> None:
        atexit.unregister(self.close)
        if self.is_alive:
            with suppress(OSError):
                self._channel.send(None)
                self._gateway.join(END_S)
        self._group.terminate(timeout=END_S)


_connections: dict[str, SshConnection] = {}
_lock = threading.Lock()


def connection_to(device: Device) -> SshConnection:
    """Return the connection to the device's machine; connect if there is none, or it was lost."""
    with _lock:
        connection = _connections.get(device.gateway)
        if connection and not connection.is_alive:
            _connections.pop(device.gateway).close()
            connection = None
        if connection is None:
            connection = _connections[device.gateway] = SshConnection(device)
        return connection


def connection_loss(device: Device) -> str:
    """Return why the connection to the device was lost; empty if it was not."""
    connection = _connections.get(device.gateway)
    return connection.loss_message() if connection and connection.wait_closed(SETTLED_S) else ""


def close_all() -> None:
    with _lock:
        while _connections:
            _connections.popitem()[1].close()
