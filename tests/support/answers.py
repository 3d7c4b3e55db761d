"""Answers of workers without a process."""

from pathlib import Path

import numpy as np

from mnbench.model.reference import reference_outputs
from mnbench.targets.answers import decode_answer

RUNS = 200
"""The runs of each session in an honest trial."""


def session_message(outputs, **facts):
    """Return what an honest worker says of a session with these outputs."""
    return {
        "state": "warm",
        "session_ns": 2_000_000,
        "first_run_ns": 1_500_000,
        "waits": False,
        "outputs": [(str(array.dtype), array.shape, array.tobytes()) for array in outputs],
        "copies_ns": {},
        "placement": None,
        "threads": 1,
    } | facts


def trial_message(sessions, *, sides=1, latencies_ns=None, **facts):
    """Return what an honest worker answers to the request of a trial with these sessions."""
    starts = range(0, len(sessions), sides)
    rows = [start for start in starts if all(item["state"] == "warm" for item in sessions[start : start + sides])]
    latencies_ns = latencies_ns or [1_000_000 + 100 * index for index in range(RUNS)]
    turns = [(row, latency_ns) for row in rows for latency_ns in latencies_ns]
    runs = [(row + (turn + side) % sides, ns) for turn, (row, ns) in enumerate(turns) for side in range(sides)]
    session, latency_ns = np.array(runs, np.int64).reshape(-1, 2).T
    columns = {"session": session, "slice": 0 * session, "latency_ns": latency_ns, "cpu_ns": 0 * session + 900_000}
    return {
        "runs": {name: values.tobytes() for name, values in columns.items()},
        "sessions": sessions,
        "peak_rss_bytes": 50_000_000,
        "runtime": {"name": "onnxruntime", "version": "1.2.3", "build": "Release", "library_sha256": "0" * 64},
        "conditions": [{"at_ns": 0}, {"at_ns": 10**9}],
        "gpu": None,
        "host": {"cpu": "a CPU", "cores": 2},
    } | facts


def answering(*messages):
    """Return a stand-in for `call_worker` that gets these messages in turn, the last one for ever."""
    left = list(messages)

    def call_worker(device, _request, answer, **_):
        return decode_answer(f"device {device.name}", left.pop(0) if len(left) > 1 else left[0], answer)

    return call_worker


class FakeWorker:
    """Stands in for `call_worker`: answers a trial at once, changed by `changes`, and rightly but for `perturb`.

    `changes` holds keys of the answer or of its sessions, or `latencies_ns` of each session. It keeps the requests,
    with the models themselves in place of their paths, and all requested sessions in their order.
    """

    def __init__(self):
        self.requests = []
        self.changes = {}
        self.perturb = list

    def __call__(self, device, request, answer, *, timeout_s, **_):
        for session in request["sessions"]:
            if isinstance(session["model"], str):
                session["model"] = Path(session["model"]).read_bytes()
        self.requests.append((device, request, timeout_s))
        sessions = [
            session_message(self.perturb(self.outputs(session)), threads=session["threads"] or 2)
            for session in request["sessions"]
        ]
        changes = {key: change() for key, change in self.changes.items()}
        facts = {key: changes.pop(key) for key in session_message([]) if key in changes}
        message = trial_message([session | facts for session in sessions], sides=request["sides"], **changes)
        message["runtime"] |= {"name": device.runtime}
        return decode_answer(f"device {device.name}", message, answer)

    @property
    def sessions(self):
        """The requests of all sessions."""
        return [session for _, request, _ in self.requests for session in request["sessions"]]

    @staticmethod
    def outputs(session):
        """What the model answers."""
        feed = {
            name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in session["inputs"].items()
        }
        return reference_outputs(session["model"], feed, name="fake")
