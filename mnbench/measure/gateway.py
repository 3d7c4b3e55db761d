"""Starts a worker on the device, carries its source there, and asks it what it is for."""

import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, cast

import execnet
from execnet import gateway_bootstrap, gateway_io

import mnbench.worker
from mnbench.errors import GatewayError, MeasureError, MnbenchError, RuntimeUnavailable
from mnbench.spec.device import Device
from mnbench.worker import carry

PACKAGE = "mnbench_worker"
START_S = 30.0
"""How long a device may take to start a Python: boards on a slow line, emulators."""

END_S = 1.0


def ask(
    device: Device,
    request: dict[str, Any],
    *,
    timeout_s: float,
    heard: Callable[[dict[str, Any]], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One request to a fresh process on the device. `heard` is told what comes before the answer.

    The process starts with the variables of `environment` beside those that it would have.

    Raises:
        GatewayError: the device's Python cannot be started, or cannot become a worker.
        RuntimeUnavailable: the runtime is not installed there, or lacks the provider.
        MeasureError: the worker crashed, hung or failed.
    """
    with conversation(device, timeout_s=timeout_s, environment=environment) as worker:
        worker.send(request)
        answer: dict[str, Any] = worker.receive()
        while "expect_s" in answer:
            if heard:
                heard(answer)
            answer = worker.receive(answer["expect_s"])
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
            MeasureError: it has ended.
        """
        try:
            self._channel.send(message)
        except OSError as failure:
            raise _death(self._gateway, self._device) from failure

    def receive(self, expect_s: float = 0.0) -> Any:
        """What it tells next; it is expected to need so long.

        Raises:
            RuntimeUnavailable, MeasureError: it lacks the runtime; it crashed, hung or failed.
        """
        try:
            answer = self._channel.receive(self._timeout_s + 2 * expect_s)
        except channel_timeout() as failure:
            raise MeasureError(
                f"no answer for {self._timeout_s:g} s longer than expected: the worker hangs",
                hint="try a smaller resolution",
            ) from failure
        except (EOFError, OSError) as failure:
            raise _death(self._gateway, self._device) from failure
        except execnet.RemoteError as failure:
            raise MeasureError(_last_line(failure), hint="run the cell alone to see whether it repeats") from failure
        if isinstance(answer, dict) and "error" in answer:
            raise _refused(cast("dict[str, Any]", answer), self._device)
        return cast("Any", answer)


@contextmanager
def conversation(
    device: Device, *, timeout_s: float, environment: Mapping[str, str] | None = None
) -> Generator[Worker]:
    """A fresh process on the device, which ends with the block.

    Raises:
        GatewayError: the device's Python cannot be started, or cannot become a worker.
    """
    with _gateway(device, environment or {}) as gateway:
        yield Worker(gateway, device, timeout_s)


def shares_files(device: Device) -> bool:
    """Whether the worker sees the files of this process: it is a Python of this machine, and no container."""
    specification = execnet.XSpec(device.gateway)
    command = shlex.split(specification.python or sys.executable)
    return bool(specification.popen and not specification.chdir and len(command) == 1 and Path(command[0]).is_file())


def _refused(answer: dict[str, Any], device: Device) -> MnbenchError:
    error = " ".join(answer["error"].split())
    if answer["unavailable"]:
        hints = {
            "runtime": f"mnbench devices setup {device.name} --fresh" if device.requires else _get(device),
            "provider": device.get or f"install a build of {device.runtime} that has it, and what it needs",
            "cores": "name cores that this device has and allows, with --cores",
        }
        return RuntimeUnavailable(f"device {device.name}: {error}", hint=hints[answer["unavailable"]])
    return MeasureError(error, hint="run the model alone to see more: mnbench run MODEL")


def _get(device: Device) -> str:
    """How to get the runtime."""
    return device.get or f"pip install {device.runtime}"


def _worker(gateway: Any, device: Device) -> Any:
    """A channel to a worker that is ready for its request.

    Raises:
        GatewayError: what runs there is no Python that can be one.
    """
    try:
        channel = gateway.remote_exec(carry)
        channel.send(PACKAGE)
        channel.send(_sources())
        channel.receive(START_S)
    except (EOFError, OSError, execnet.RemoteError, channel_timeout()) as failure:
        raise GatewayError(
            f"device {device.name}: no worker starts behind `{device.gateway}`: {_last_line(failure)}",
            hint="the device needs Python 3.9 or newer and numpy",
        ) from failure
    return channel


def _last_line(failure: BaseException) -> str:
    """The last line of a message, where tracebacks say what it is about."""
    return next(reversed(str(failure).strip().splitlines()), type(failure).__name__)


def channel_timeout() -> type[Exception]:
    """Execnet's time-out, which it names nowhere but on the channel."""
    return execnet.gateway_base.Channel.TimeoutError


@contextmanager
def _gateway(device: Device, environment: Mapping[str, str]) -> Generator[Any]:
    group = execnet.Group()
    try:
        yield _started(group, device, environment)
    except MnbenchError:
        raise
    except (OSError, ValueError, EOFError, AssertionError, execnet.HostNotFound) as failure:
        raise GatewayError(
            f"device {device.name}: cannot start `{device.gateway}`: {_last_line(failure)}",
            hint=f"mend `gateway` in its profile: mnbench devices show {device.name}",
        ) from failure
    finally:
        group.terminate(timeout=END_S)


def _started(group: Any, device: Device, environment: Mapping[str, str]) -> Any:
    """A gateway, as `Group.makegateway` makes it, but whose process is ended if it gives no answer.

    While the process is made signals wait. SIGINT stays blocked in the worker: Ctrl-C is for this process to handle.
    """
    specification = execnet.XSpec(device.gateway)
    if not (specification.popen or specification.ssh):
        return group.makegateway(specification)
    specification.python = _python(specification, environment)
    specification.execmodel = specification.execmodel or group.remote_execmodel.backend
    group.allocate_id(specification)
    process = watch = None
    try:
        with _signals_held():
            process = gateway_io.create_io(specification, execmodel=group.execmodel)
            watch = threading.Timer(START_S, process.kill)
            watch.daemon = True
            watch.start()
        gateway = gateway_bootstrap.bootstrap(process, specification)
        gateway.spec = specification
        group._register(gateway)  # noqa: SLF001  what makegateway does
    except BaseException:
        if process:
            process.kill()
            process.wait()
        raise
    finally:
        if watch:
            watch.cancel()
    return gateway


def _python(specification: Any, environment: Mapping[str, str]) -> str | None:
    """The command that starts Python with these variables: what execnet sets by itself, the C library never sees."""
    if not environment or (specification.popen and sys.platform == "win32"):
        return specification.python
    ordinary = shlex.quote(sys.executable) if specification.popen else "python3"
    variables = shlex.join(f"{name}={value}" for name, value in environment.items())
    return f"env {variables} {specification.python or ordinary}"


@contextmanager
def _signals_held() -> Generator[None]:
    """Ctrl-C and SIGTERM wait until the end. SIGINT's mask goes on to the worker; threads without it need handlers."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    held: list[tuple[int, Any]] = []

    def hold(number: int, frame: Any) -> None:
        held.append((number, frame))

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in handlers:
        signal.signal(number, hold)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in held[:1]:
            handlers[signal.Signals(number)](number, frame)


def _death(gateway: Any, device: Device) -> MeasureError:
    """Why the worker's process ended, as far as this side can tell."""
    process = getattr(gateway._io, "popen", None)  # noqa: SLF001  execnet keeps the exit status nowhere else
    code = None
    with suppress(subprocess.TimeoutExpired):
        code = process.wait(timeout=END_S) if process else None
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        more = ": out of memory?" if name == "SIGKILL" else ""
        return MeasureError(
            f"the worker was killed by {name}{more}", hint="run the cell alone to see whether it repeats"
        )
    how = f"with exit code {code}" if code is not None else "without a word"
    return MeasureError(f"the worker on {device.name} ended {how}", hint="run the cell alone to see whether it repeats")


def _sources() -> dict[str, tuple[bool, str]]:
    """Every module of the worker: its name there, whether it is a package, and its source."""
    found: dict[str, tuple[bool, str]] = {}

    def collect(folder: Any, name: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir() and (entry / "__init__.py").is_file():
                collect(entry, f"{name}.{entry.name}")
            elif entry.name.endswith(".py"):
                module = entry.name.removesuffix(".py")
                full = name if module == "__init__" else f"{name}.{module}"
                found[full] = (module == "__init__", entry.read_text(encoding="utf-8"))

    collect(resources.files(mnbench.worker), PACKAGE)
    return found
