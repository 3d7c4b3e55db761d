"""Run native code on anyone's model in a helper process: a crash, a hang or too little memory costs that model alone.

The helper protects this process from faults of onnxruntime, onnxsim and onnx. It is no sandbox: it has the user's
rights.
"""

import atexit
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import mnbench
from mnbench.errors import BuildError, MnbenchError, first_line
from mnbench.programs import calling_after, end_with_parent, needed_environment, signal_name
from mnbench.temporary import process_folder

T = TypeVar("T")

EXIT_WAIT_S = 0.5

START = "import sys; sys.path[:] = {path!r}; from mnbench.model.isolated import serve; serve(ends_with_thread={main})"
"""What the helper's Python runs: nothing is imported before its path is set."""


class Step(NamedTuple):
    """What native code does with a model, as errors name it, and what the user can do if it fails.

    A model of 730 MB takes 90 s for its longest step on two cores. `memory_bytes` is what the helper may take in
    addition to what it has; None for steps that need as much as the model declares.
    """

    name: str
    hint: str
    error: type[BuildError] = BuildError
    timeout_s: float = 600.0
    memory_bytes: int | None = None


class Helper:
    """A process that calls functions for this process. It starts when it is needed, and again after a failure."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def call(self, model: str, step: Step, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns in the helper; `model` is its name in errors.

        Raises:
            BuildError: the helper crashed, was killed or took too long, or the function failed.
            MnbenchError: what the function raises.
        """
        with self._lock:
            process = self._running() or self._start()
            timed_out = threading.Event()
            try:
                with calling_after(step.timeout_s, lambda: (timed_out.set(), process.kill())):
                    answer = _exchange(process, (function, arguments, _current_folder(), step.memory_bytes))
            except (EOFError, OSError) as failure:
                reason = f"took more than {step.timeout_s:g} s" if timed_out.is_set() else _describe_exit(process)
                self.stop()
                raise step.error(f"{model}: {step.name} {reason}", hint=step.hint) from failure
            except BaseException:
                self.stop()  # its answer would be taken for that of the next call
                raise
        if isinstance(answer, MemoryError):
            raise step.error(f"{model}: {step.name} ran out of memory", hint=step.hint) from answer
        if isinstance(answer, MnbenchError):
            raise answer
        if isinstance(answer, Exception):
            raise step.error(f"{model}: {step.name} fails: {first_line(answer)}", hint=step.hint) from answer
        return answer

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # the system takes seconds to free many gigabytes
                process.wait(EXIT_WAIT_S)
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    stream.close()  # pyright: ignore[reportOptionalMemberAccess]

    def forget(self) -> None:
        """Leave the process to the parent of this process, which is a fork of it."""
        self._process, self._lock = None, threading.Lock()

    def _running(self) -> subprocess.Popen[bytes] | None:
        return self._process if self._process and self._process.poll() is None else None

    def _start(self) -> subprocess.Popen[bytes]:
        self.stop()
        # Linux ends it with the thread that starts it: only the main thread lives as long as this process.
        main = threading.current_thread() is threading.main_thread()
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-c", START.format(path=_import_path(), main=main)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=needed_environment({"TMPDIR": str(process_folder())}),
            start_new_session=True,  # this process alone handles Ctrl-C
        )
        return self._process


HELPER = Helper()
atexit.register(HELPER.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=HELPER.forget)


def serve(*, ends_with_thread: bool) -> None:
    """Call the functions that the parent asks for, until its input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print to stdout
    if ends_with_thread:
        end_with_parent()
    with suppress(OSError):  # on Linux, the first to be killed when memory runs out
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    requests: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    while not isinstance(request := requests.get(), Exception):
        pickle.dump(_answer(*request), answers, protocol=5)
        answers.flush()
    pickle.dump(request, answers)


def _receive(requests: "SimpleQueue[Any]") -> None:
    """Read requests, in a thread of its own that notices the end of the parent in the midst of a call."""
    while True:
        try:
            requests.put(pickle.load(sys.stdin.buffer))  # noqa: S301  the parent's own
        except EOFError:
            os._exit(0)
        except Exception as failure:  # noqa: BLE001  the parent raises it
            return requests.put(failure)


def _answer(
    function: Callable[..., Any], arguments: tuple[Any, ...], folder: str | None, memory_bytes: int | None
) -> Any:
    """Return the function's result, or the exception that it raises."""
    try:
        if folder:
            os.chdir(folder)
        with _limited_memory(memory_bytes):
            return function(*arguments)
    except Exception as failure:  # noqa: BLE001  the parent raises it
        return failure


@contextmanager
def _limited_memory(more_bytes: int | None) -> Generator[None]:
    """Let this process take so many bytes in addition to what it has; no system but Linux holds to it."""
    if more_bytes is None or sys.platform != "linux":
        yield
        return
    import resource  # noqa: PLC0415  not on Windows

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _exchange(process: subprocess.Popen[bytes], request: Any) -> Any:
    assert process.stdin
    assert process.stdout
    pickle.dump(request, process.stdin, protocol=5)
    process.stdin.flush()
    return pickle.load(process.stdout)  # noqa: S301  a process of this user, with the same rights


def _describe_exit(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_WAIT_S)
    code = process.returncode
    if code is None or code >= 0:
        return f"ended its process{f' with exit code {code}' if code else ''}"
    name = signal_name(-code)
    return "was killed by SIGKILL: out of memory?" if name == "SIGKILL" else f"crashed ({name})"


def _current_folder() -> str | None:
    """Return the folder that relative paths begin in; None if it was removed."""
    with suppress(OSError):
        return str(Path().absolute())
    return None


def _import_path() -> list[str]:
    """Return this process's path without the current folder, whose json.py is a stranger's; mnbench's own stays."""
    root, current = str(Path(mnbench.__file__).parents[1]), _current_folder()
    return [entry for entry in sys.path if entry == root or (entry and os.path.abspath(entry) != current)]  # noqa: PTH100
