"""Start a Python on this machine or over ssh, and explain in one line why it did not start."""

import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from execnet import gateway_base, gateway_bootstrap

from mnbench.errors import UnreachableError, first_line
from mnbench.stop_signals import STOP_SIGNALS
from mnbench.targets.device import Device
from mnbench.targets.wire import harden_execnet

harden_execnet()

START_TIMEOUT_S = 30.0
"""Time limit for starting a Python; boards on slow connections and emulators need long."""

MAX_RECEIVED_BYTES = 2**31 + 2**28
"""What a process may send: a model of 2 GB, and its outputs."""

SSH = (
    "ssh",
    *("-o", "BatchMode=yes"),  # never prompts for a password or a host key
    *("-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15"),  # a broken connection is noticed
    *("-o", "ServerAliveCountMax=2"),
)

OLDEST = (3, 9)
BOOTSTRAP = (
    f"import sys;sys.version_info>={OLDEST}or sys.exit('Python %d.%d is too old'%sys.version_info[:2]);"
    "sys.path[:]=filter(None,sys.path);"
    "exec(eval(sys.stdin.readline()))"
)
"""Check Python's version, take the current folder from its path, then run execnet's source from standard input."""

START_FAILURES = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": (
        "its host key has changed",
        "if it was reinstalled: ssh-keygen -R HOST, then connect once by hand",
    ),
    "Host key verification failed": (
        "its host key is unknown",
        "connect once by hand, and compare the key that ssh shows with the device's own",
    ),
    r"Permission denied \(": ("SSH authentication failed", "ssh must log in without a password: ssh-copy-id USER@HOST"),
    "Could not resolve": ("unknown host", "fix the host's name in `gateway`, or in ~/.ssh/config"),
    "Python .* is too old": ("", "mnbench needs Python 3.9 or newer there: name one in `gateway`, after //python="),
    "not found$|No such file or directory$": (
        "Python was not found",
        "install Python 3.9 or newer there, or name it in `gateway`, after //python=",
    ),
}
"""Patterns in the stderr of ssh, shells and Python; what each means, and what to do."""


class Process(gateway_base.Popen2IO):
    """A child process whose Python becomes a gateway; its stderr is kept to explain a failure."""

    def __init__(self, command: list[str], environment: Mapping[str, str], execmodel: Any) -> None:
        self.received_bytes = 0
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  read after the process has ended
        weakref.finalize(self, self._stderr.close)
        self.popen = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
        )
        weakref.finalize(self, _close, self.popen)
        super().__init__(self.popen.stdin, self.popen.stdout, execmodel)  # pyright: ignore[reportUnknownMemberType]

    def wait(self, timeout: float | None = None) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.popen.wait(timeout)
        return None

    def kill(self) -> None:
        self.popen.kill()

    def abort(self) -> None:
        """End the process, though it may not read."""
        self.popen.kill()

    def read(self, numbytes: int) -> bytes:
        """Read so many bytes, of which a process may send `MAX_RECEIVED_BYTES`."""
        self.received_bytes += numbytes
        if self.received_bytes > MAX_RECEIVED_BYTES:
            raise EOFError("it sends without end")
        return super().read(numbytes)

    def stderr_lines(self) -> list[str]:
        self._stderr.seek(0)
        return [line.strip() for line in self._stderr.read().decode(errors="replace").splitlines() if line.strip()]


def _close(popen: subprocess.Popen[bytes]) -> None:
    popen.poll()
    for stream in (popen.stdin, popen.stdout):
        with suppress(OSError, ValueError):
            if stream:
                stream.close()


def start_command(specification: Any) -> list[str]:
    """Return the command that starts Python, on this machine or over ssh."""
    if specification.ssh:
        config = ["-F", specification.ssh_config] if specification.ssh_config else []
        python = specification.python or "python3"
        return [*SSH, *config, *specification.ssh.split(), f"{python} -c {shlex.quote(BOOTSTRAP)}"]
    # Backslashes in paths are not escapes.
    supplied = (specification.python or "").replace("\\", "/" if sys.platform == "win32" else "\\")
    return [*(shlex.split(supplied) or [sys.executable]), "-u", "-c", BOOTSTRAP]


def start_gateway(group: Any, start_process: Callable[[], Any], specification: Any, device: Device) -> Any:
    """Start a process and make it a gateway of the group; kill it if it does not answer.

    Signals are held back meanwhile. SIGINT stays blocked in the process: this process handles Ctrl-C.
    """
    specification.execmodel = specification.execmodel or group.remote_execmodel.backend
    process = watch = None
    try:
        with _hold_signals():
            group.allocate_id(specification)
            process = start_process()
            watch = threading.Timer(START_TIMEOUT_S, process.kill)
            watch.daemon = True
            watch.start()
        gateway = gateway_bootstrap.bootstrap(process, specification)
        if isinstance(process, Process) and process.wait(0) is not None:
            raise EOFError  # noqa: TRY301  execnet takes some exits for a start
        gateway.spec = specification
        group._register(gateway)  # noqa: SLF001  as makegateway does
    except (OSError, EOFError, AssertionError) as failure:
        error = start_error(device, process, failure)
        if process:
            process.kill()
            process.wait()
        raise error from failure
    except BaseException:
        if process:
            process.kill()
            process.wait()
        raise
    finally:
        if watch:
            watch.cancel()
    return gateway


@contextmanager
def _hold_signals() -> Generator[None]:
    """Hold back the signals that stop a command until the end. The worker inherits SIGINT's mask."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    pending: list[tuple[int, Any]] = []

    def hold(number: int, frame: Any) -> None:
        pending.append((number, frame))

    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
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
        for number, frame in pending[:1]:
            handlers[signal.Signals(number)](number, frame)


def start_error(device: Device, process: Any, failure: BaseException) -> UnreachableError:
    """Explain from its stderr why a process did not become a gateway."""
    ended = process.wait(1.0) if isinstance(process, Process) else None
    lines = process.stderr_lines() if ended is not None else []
    for sign, (meaning, hint) in START_FAILURES.items():
        text = next((line for line in lines if re.search(sign, line)), None)
        if text:
            return UnreachableError(": ".join(filter(None, (f"device {device.name}", meaning, text))), hint=hint)
    if isinstance(failure, AssertionError):
        reason = "the remote shell prints text before Python starts; remove it from the shell's start-up files"
    elif ended == -signal.SIGKILL:
        reason = f"no answer within {START_TIMEOUT_S:g} s"
    else:
        reason = lines[-1] if lines else first_line(failure)
    return cannot_start(device, reason)


def cannot_start(device: Device, reason: str) -> UnreachableError:
    return UnreachableError(
        f"device {device.name}: cannot start `{device.gateway}`: {reason}",
        hint=f"fix `gateway` in its device file: mnbench devices show {shlex.quote(device.name)}",
    )
