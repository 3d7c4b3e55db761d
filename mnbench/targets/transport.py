"""Starts a worker on the device, carries its source there, and asks it what it is for."""

import shlex
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, cast

import execnet

import mnbench.worker
from mnbench.errors import MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.targets.device import Device
from mnbench.targets.ssh import LOST_HINT, RemoteProcess, connection_loss, connection_to
from mnbench.targets.start import START_TIMEOUT_S, Process, cannot_start, start_command, start_gateway
from mnbench.worker import bootstrap

WORKER_PACKAGE = "mnbench_worker"
END_S = 1.0


def call_worker(
    device: Device,
    request: dict[str, Any],
    *,
    timeout_s: float,
    on_heartbeat: Callable[[dict[str, Any]], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Send one request to a fresh process on the device. `on_heartbeat` gets the messages before the answer.

    The process starts with the variables of `environment`, and of the device's own, beside those that it would have.

    Raises:
        UnreachableError: the device's Python cannot be started, or cannot become a worker.
        RuntimeUnavailable: the runtime is not installed there, or lacks the provider.
        TrialError: the worker crashed, hung or failed.
    """
    with open_worker(device, timeout_s=timeout_s, environment=environment) as worker:
        worker.send(request)
        answer: dict[str, Any] = worker.receive()
        while "expected_s" in answer:
            if on_heartbeat:
                on_heartbeat(answer)
            answer = worker.receive(answer["expected_s"])
    return answer


class Worker:
    """A worker that is ready for its request, or in the midst of one."""

    def __init__(self, gateway: Any, device: Device, timeout_s: float) -> None:
        self._gateway = gateway
        self._device = device
        self._timeout_s = timeout_s
        self._channel = _worker(gateway, device)

    def send(self, message: Any) -> None:
        """Tell it something.

        Raises:
            TrialError: it has ended.
        """
        try:
            self._channel.send(message)
        except OSError as failure:
            raise _exit_error(self._gateway, self._device) from failure

    def receive(self, expected_s: float = 0.0) -> Any:
        """Receive the next message; `expected_s` is the expected time until it comes.

        Raises:
            RuntimeUnavailable, TrialError: it lacks the runtime; it crashed, hung or failed.
        """
        try:
            answer = self._channel.receive(self._timeout_s + 2 * expected_s)
        except channel_timeout() as failure:
            raise TrialError(
                f"no answer for {self._timeout_s:g} s longer than expected: the worker hangs",
                hint="try a smaller resolution",
            ) from failure
        except (EOFError, OSError) as failure:
            raise _exit_error(self._gateway, self._device) from failure
        except execnet.RemoteError as failure:
            raise TrialError(_last_line(failure), hint="run the cell alone to see whether it repeats") from failure
        if isinstance(answer, dict) and "error" in answer:
            raise _refusal_error(cast("dict[str, Any]", answer), self._device)
        return cast("Any", answer)


@contextmanager
def open_worker(device: Device, *, timeout_s: float, environment: Mapping[str, str] | None = None) -> Generator[Worker]:
    """Start a fresh process on the device, which ends with the block.

    Raises:
        UnreachableError: the device's Python cannot be started, or cannot become a worker.
    """
    with _open_gateway(device, {**(environment or {}), **device.environment}) as gateway:
        yield Worker(gateway, device, timeout_s)


def shares_files(device: Device) -> bool:
    """Whether the worker sees the files of this process: it is a Python of this machine, and no container."""
    specification = execnet.XSpec(device.gateway)
    command = shlex.split(specification.python or sys.executable)
    return bool(specification.popen and not specification.chdir and len(command) == 1 and Path(command[0]).is_file())


def provide_file(device: Device, path: Path) -> str | bytes:
    """Return what a worker gets for a file of this process: its path here or there, or its content.

    Raises:
        TrialError: the device has no room for it.
        UnreachableError: the device cannot be reached.
    """
    if shares_files(device):
        return str(path.resolve())
    return connection_to(device).upload(path) if execnet.XSpec(device.gateway).ssh else path.read_bytes()


def _refusal_error(answer: dict[str, Any], device: Device) -> MnbenchError:
    error = " ".join(answer["error"].split())
    if answer["unavailable"]:
        hints = {
            "runtime": f"mnbench devices setup {device.name} --fresh" if device.requires else _get(device),
            "provider": device.install_hint or f"install a build of {device.runtime} that has it, and what it needs",
            "cores": "name cores that this device has and allows, with --cores",
        }
        return RuntimeUnavailable(f"device {device.name}: {error}", hint=hints[answer["unavailable"]])
    return TrialError(error, hint="run the model alone to see more: mnbench run MODEL")


def _get(device: Device) -> str:
    """Return the hint that says how to install the runtime."""
    where = "" if shares_files(device) else "on the device: "
    return where + (device.install_hint or f"pip install {device.runtime}")


def _worker(gateway: Any, device: Device) -> Any:
    """Return a channel to a worker that is ready for its request.

    Raises:
        UnreachableError: what runs there is no Python that can be one.
    """
    try:
        channel = gateway.remote_exec(bootstrap)
        channel.send(WORKER_PACKAGE)
        channel.send(_worker_sources())
        channel.receive(START_TIMEOUT_S)
    except (EOFError, OSError, execnet.RemoteError, channel_timeout()) as failure:
        raise UnreachableError(
            f"device {device.name}: no worker starts behind `{device.gateway}`: {_last_line(failure)}",
            hint="the device needs Python 3.9 or newer and numpy",
        ) from failure
    return channel


def _last_line(failure: BaseException) -> str:
    """Return the last line of a message, which names the error of a traceback."""
    return next(reversed(str(failure).strip().splitlines()), type(failure).__name__)


def channel_timeout() -> type[Exception]:
    """Return execnet's timeout class, which only its channel names."""
    return execnet.gateway_base.Channel.TimeoutError


@contextmanager
def _open_gateway(device: Device, environment: Mapping[str, str]) -> Generator[Any]:
    group = execnet.Group()
    try:
        yield _started(group, device, environment)
    except UnreachableError as failure:
        if lost := connection_loss(device):
            raise TrialError(lost, hint=LOST_HINT) from failure
        raise
    except MnbenchError:
        raise
    except (OSError, ValueError, EOFError, AssertionError, execnet.HostNotFound) as failure:
        raise cannot_start(device, _last_line(failure)) from failure
    finally:
        group.terminate(timeout=END_S)


def _started(group: Any, device: Device, environment: Mapping[str, str]) -> Any:
    """Return a gateway like `Group.makegateway`, but kill its process if it does not answer."""
    specification = execnet.XSpec(device.gateway)
    if specification.ssh:
        # Workers are children of what keeps the connection: it tells how they end, and ends them.
        keeper = connection_to(device)
        return start_gateway(group, lambda: keeper.start_process(specification, environment), specification, device)
    if specification.popen:
        command = start_command(specification, environment)
        return start_gateway(group, lambda: Process(command, group.execmodel), specification, device)
    return group.makegateway(specification)


def _exit_error(gateway: Any, device: Device) -> TrialError:
    """Return the error of a worker that ended, as far as it is known here."""
    process = gateway._io  # noqa: SLF001  execnet keeps the exit status nowhere else
    code = process.wait(END_S) if isinstance(process, (Process, RemoteProcess)) else None
    if isinstance(process, RemoteProcess) and code is None and (lost := connection_loss(device)):
        return TrialError(lost, hint=LOST_HINT)
    again = "run the cell alone to see whether it repeats"
    said = process.stderr_lines() if isinstance(process, Process) and code else []
    more = f": {said[-1][:200]}" if said else ""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return TrialError(
            f"the worker was killed by {name}{': out of memory?' if name == 'SIGKILL' else more}", hint=again
        )
    how = f"with exit code {code}{more}" if code is not None else "without a word"
    return TrialError(f"the worker on {device.name} ended {how}", hint=again)


def _worker_sources() -> dict[str, tuple[bool, str]]:
    """Return every module of the worker: its name there, whether it is a package, and its source."""
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
