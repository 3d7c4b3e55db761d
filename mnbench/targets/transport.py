"""Start a worker on the device, send it its source, and ask it a request."""

import logging
import shlex
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast

import execnet
from execnet import gateway_base

import mnbench.worker
from mnbench.errors import MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.programs import calling_after, clean_environment, needed_environment, signal_name
from mnbench.targets.answers import (
    AnswerT,
    Failure,
    Heartbeat,
    Timings,
    decode_answer,
    error_text,
    is_heartbeat,
    wrong_answer,
)
from mnbench.targets.device import Device
from mnbench.targets.ssh import LOST_HINT, SLOW_BYTES_PER_S, RemoteProcess, connection_loss, connection_to
from mnbench.targets.start import START_TIMEOUT_S, Process, cannot_start, start_command, start_gateway
from mnbench.temporary import process_folder
from mnbench.text import printable
from mnbench.worker import bootstrap

logger = logging.getLogger(__name__)

WORKER_PACKAGE = "mnbench_worker"
END_S = 1.0

TOO_LARGE_TO_SEND = "a model larger than 2 GB is not sent to another machine"


class Heartbeats(NamedTuple):
    """The messages before an answer that a request explains, at most `limit`.

    Between two, a worker may need `planned_s`, and as many runs as `planned_runs` of the slowest model.
    """

    limit: int = 0
    planned_s: float = 0.0
    planned_runs: int = 0


NO_HEARTBEATS = Heartbeats()


def call_worker(
    device: Device,
    request: dict[str, Any],
    answer: type[AnswerT],
    *,
    timeout_s: float,
    heartbeats: Heartbeats = NO_HEARTBEATS,
    on_heartbeat: Callable[[Heartbeat], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AnswerT:
    """Send one request to a new process on the device. `on_heartbeat` gets the messages before the answer.

    The process gets the variables of `environment` and of the device in addition to its own. What it expects to take
    longer than the request explains is not waited for.

    Raises:
        UnreachableError: the device's Python cannot be started, cannot run the worker, or answers wrongly.
        RuntimeUnavailable: the runtime is not installed there, or lacks the provider.
        TrialError: the worker crashed, hung or failed.
    """
    with open_worker(device, timeout_s=timeout_s, environment=environment) as worker:
        return worker.ask(request, answer, heartbeats=heartbeats, on_heartbeat=on_heartbeat)


class Worker:
    def __init__(self, gateway: Any, device: Device, timeout_s: float) -> None:
        self._gateway = gateway
        self._device = device
        self._timeout_s = timeout_s
        try:
            with _aborting(gateway, START_TIMEOUT_S):
                self._channel = gateway.remote_exec(bootstrap)
                self._channel.send(WORKER_PACKAGE)
                self._channel.send(_worker_sources())
                self._channel.receive(START_TIMEOUT_S)
        except (EOFError, OSError, execnet.RemoteError, gateway_base.TimeoutError) as failure:
            raise UnreachableError(
                f"device {device.name}: no worker starts on `{device.gateway}`: {_last_line(failure)}",
                hint="install Python 3.9 or newer and numpy on the device",
            ) from failure

    def send(self, message: Any) -> None:
        """Send a message to the worker."""
        try:
            if isinstance(message, dict):  # a request, larger than what a pipe holds
                request = cast("dict[str, Any]", message)
                models = [session.get("model") for session in request.get("sessions", [request])]
                size_bytes = sum(len(model) for model in models if isinstance(model, bytes))
                with _aborting(self._gateway, self._timeout_s + size_bytes / SLOW_BYTES_PER_S):
                    self._channel.send(request)
            else:
                self._channel.send(message)
        except OSError as failure:
            raise _exit_error(self._gateway, self._device) from failure

    def ask(
        self,
        request: dict[str, Any],
        answer: type[AnswerT],
        *,
        heartbeats: Heartbeats = NO_HEARTBEATS,
        on_heartbeat: Callable[[Heartbeat], object] | None = None,
    ) -> AnswerT:
        """Send a request and return its answer, as `call_worker` does."""
        self.send(request)
        expected_s = longest_s = 0.0  # a first run takes no longer than the longest wait
        for _ in range(heartbeats.limit + 1):
            begin = time.monotonic()
            message = self._receive(answer, expected_s)
            if not isinstance(message, Heartbeat):
                return message
            if on_heartbeat:
                on_heartbeat(message)
            longest_s = max(longest_s, min(time.monotonic() - begin, self._timeout_s))
            expected_s = min(message.expected_s, heartbeats.planned_s + heartbeats.planned_runs * longest_s)
        raise wrong_answer(f"device {self._device.name}", "more messages before the answer than the request explains")

    def receive_timings(self, runs: int) -> Timings:
        """Return the times of so many runs, which were requested by a message."""
        timings = self._receive(Timings)
        if isinstance(timings, Heartbeat) or not len(timings.latencies_ns) == len(timings.cpu_ns) == runs:
            raise wrong_answer(f"device {self._device.name}", f"other times than those of {runs} runs")
        return timings

    def _receive(self, answer: type[AnswerT], expected_s: float = 0.0) -> AnswerT | Heartbeat:
        """Return the worker's next message, which may take `expected_s`."""
        try:
            message = self._channel.receive(self._timeout_s + 2 * expected_s)
        except gateway_base.TimeoutError as failure:
            raise TrialError(
                f"no answer for {self._timeout_s:g} s longer than expected: the worker hangs",
                hint="try a smaller resolution",
            ) from failure
        except (EOFError, OSError) as failure:
            raise _exit_error(self._gateway, self._device) from failure
        except execnet.RemoteError as failure:
            raise TrialError(
                _last_line(failure), hint="run this model alone to see whether it fails again"
            ) from failure
        decoded = decode_answer(f"device {self._device.name}", message, Heartbeat if is_heartbeat(message) else answer)
        if isinstance(decoded, Failure):
            raise _refusal_error(decoded, self._device)
        return decoded


@contextmanager
def open_worker(device: Device, *, timeout_s: float, environment: Mapping[str, str] | None = None) -> Generator[Worker]:
    """Start a new process on the device, which ends with the block."""
    with _open_gateway(device, {**(environment or {}), **device.environment}) as gateway:
        yield Worker(gateway, device, timeout_s)


def shares_files(device: Device) -> bool:
    """Return whether the worker can read this process's files: a Python of this machine, not in a container."""
    specification = execnet.XSpec(device.gateway)
    command = shlex.split(specification.python or sys.executable)
    return bool(specification.popen and not specification.chdir and len(command) == 1 and Path(command[0]).is_file())


def provide_file(device: Device, path: Path, *, data_bytes: int = 0) -> str | bytes:
    """Return what a worker gets for a model: its path here, its path there after an upload, or its content.

    Raises:
        TrialError: the worker cannot read the files beside the model that hold its weights.
    """
    if shares_files(device):
        return str(path.absolute())  # the data of a linked model lies beside the link
    if data_bytes:
        raise TrialError(TOO_LARGE_TO_SEND, hint="run mnbench on that machine")
    return connection_to(device).upload(path) if execnet.XSpec(device.gateway).ssh else path.read_bytes()


def _refusal_error(answer: Failure, device: Device) -> MnbenchError:
    error = error_text(answer.error)
    if answer.unavailable:
        install = device.install_hint or f"pip install {device.runtime}"
        install = install if shares_files(device) else f"on the device: {install}"
        hints = {
            "runtime": f"mnbench devices setup {shlex.quote(device.name)} --fresh" if device.requires else install,
            "provider": device.install_hint
            or f"install a build of {device.runtime} with this provider, and the libraries it needs",
            "cores": "name cores that this device has and allows: --cores",
        }
        return RuntimeUnavailable(f"device {device.name}: {error}", hint=hints[answer.unavailable])
    return TrialError(error, hint="run the model alone to see more: mnbench run MODEL")


def _last_line(failure: BaseException) -> str:
    """Return the last line of a message: in a traceback, the error."""
    return error_text(next(reversed(str(failure).strip().splitlines()), type(failure).__name__))


def _aborting(gateway: Any, limit_s: float) -> AbstractContextManager[None]:
    """End the gateway's process if the block takes longer: a process that does not read blocks whoever writes."""
    process = gateway._io  # noqa: SLF001
    return calling_after(limit_s, process.abort if isinstance(process, (Process, RemoteProcess)) else lambda: None)


@contextmanager
def _open_gateway(device: Device, environment: Mapping[str, str]) -> Generator[Any]:
    """Make a gateway like `Group.makegateway`, but kill its process if it does not answer."""
    group = execnet.Group()
    python = f" ({sys.executable})" if device.gateway == "popen" else ""
    variables = "".join(f" {name}={value}" for name, value in environment.items())
    logger.info("starting a worker of device %s on %s%s%s", device.name, device.gateway, python, variables)
    try:
        specification = execnet.XSpec(device.gateway)
        start: Callable[[], Any] | None = None
        if specification.ssh:
            # Workers are children of the connection's process, which reports their exit codes and ends them.
            start = partial(connection_to(device).start_process, specification, environment)
        elif specification.popen:
            # Other commands are programs that the user trusts, such as containers.
            inherited = _local_environment() if shares_files(device) else clean_environment()
            start = partial(Process, start_command(specification), {**inherited, **environment}, group.execmodel)
        yield start_gateway(group, start, specification, device) if start else group.makegateway(specification)
    except UnreachableError as failure:
        if lost := connection_loss(device):
            raise TrialError(lost, hint=LOST_HINT) from failure
        raise
    except MnbenchError:
        raise
    except (OSError, ValueError, IndexError, EOFError, AssertionError, execnet.HostNotFound) as failure:
        raise cannot_start(device, _last_line(failure)) from failure
    finally:
        group.terminate(timeout=END_S)


def _local_environment() -> dict[str, str]:
    """Return what a worker of this machine inherits. Its temporary files go when this process does."""
    folder = str(process_folder())
    return needed_environment({"TMPDIR": folder, "TEMP": folder, "TMP": folder})


def _exit_error(gateway: Any, device: Device) -> TrialError:
    """Explain why the worker's process ended."""
    process = gateway._io  # noqa: SLF001  execnet keeps the exit status only there
    code = process.wait(END_S) if isinstance(process, (Process, RemoteProcess)) else None
    if isinstance(process, RemoteProcess) and code is None and (lost := connection_loss(device)):
        return TrialError(lost, hint=LOST_HINT)
    hint = "run this model alone to see whether it fails again"
    lines = process.stderr_lines() if isinstance(process, Process) and code else []
    reason = f": {printable(lines[-1][:200])}" if lines else ""
    if code is not None and code < 0:
        name = signal_name(-code)
        return TrialError(
            f"the worker was killed by {name}{': out of memory?' if name == 'SIGKILL' else reason}", hint=hint
        )
    how = f"with exit code {code}{reason}" if code is not None else "without output"
    return TrialError(f"the worker on {device.name} exited {how}", hint=hint)


def _worker_sources() -> dict[str, tuple[bool, str]]:
    """Return every module of the worker by its name there: whether it is a package, and its source."""
    entries: dict[str, tuple[bool, str]] = {}

    def collect(folder: Any, name: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir() and (entry / "__init__.py").is_file():
                collect(entry, f"{name}.{entry.name}")
            elif entry.name.endswith(".py"):
                module = entry.name.removesuffix(".py")
                full = name if module == "__init__" else f"{name}.{module}"
                entries[full] = (module == "__init__", entry.read_text(encoding="utf-8"))

    collect(resources.files(mnbench.worker), WORKER_PACKAGE)
    return entries
