"""Starts a worker on the device, carries its source there, and asks it for one visit."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import execnet

import mnbench.worker
from mnbench.errors import GatewayError, MeasureError, MnbenchError, RuntimeUnavailable
from mnbench.spec.device import Device
from mnbench.worker import carry

PACKAGE = "mnbench_worker"
END_S = 1.0


def ask(device: Device, request: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """One request to a fresh process on the device.

    Raises:
        GatewayError: the device's Python cannot be started.
        RuntimeUnavailable: the runtime is not installed there, or lacks the provider.
        MeasureError: the worker crashed, hung or failed.
    """
    with _gateway(device) as gateway:
        try:
            channel = gateway.remote_exec(carry)
            channel.send(PACKAGE)
            channel.send(_sources())
            channel.send(request)
            answer = channel.receive(timeout_s)
            while "expect_s" in answer:
                answer = channel.receive(timeout_s + 2 * answer["expect_s"])
        except channel_timeout() as failure:
            raise MeasureError(
                f"no answer for {timeout_s:g} s longer than expected: the worker hangs", hint="try a smaller resolution"
            ) from failure
        except (EOFError, OSError) as failure:
            raise _death(gateway, device) from failure
        except execnet.RemoteError as failure:
            last = str(failure).strip().splitlines()[-1]
            raise GatewayError(
                f"device {device.name}: the worker cannot start: {last}",
                hint="the device needs Python 3.9 or newer and numpy",
            ) from failure
    if "error" not in answer:
        return answer
    error = " ".join(answer["error"].split())
    if answer["unavailable"]:
        raise RuntimeUnavailable(f"device {device.name}: {error}", hint=f"pip install {device.runtime}")
    raise MeasureError(error, hint="run the model alone to see more: mnbench run MODEL")


def channel_timeout() -> type[Exception]:
    """Execnet's time-out, which it names nowhere but on the channel."""
    return execnet.gateway_base.Channel.TimeoutError


@contextmanager
def _gateway(device: Device) -> Generator[Any]:
    group = execnet.Group()
    try:
        yield group.makegateway(device.gateway)
    except MnbenchError:
        raise
    except (OSError, ValueError, EOFError, execnet.HostNotFound) as failure:
        raise GatewayError(
            f"device {device.name}: cannot start `{device.gateway}`: {failure}",
            hint=f"mend `gateway` in its profile: mnbench devices show {device.name}",
        ) from failure
    finally:
        group.terminate(timeout=END_S)


def _death(gateway: Any, device: Device) -> MeasureError:
    """Why the worker's process ended, as far as this side can tell."""
    process = getattr(gateway._io, "popen", None)  # noqa: SLF001  execnet keeps the exit status nowhere else
    code = process.wait(timeout=END_S) if process else None
    if code is not None and code < 0:
        name = signal.Signals(-code).name
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
