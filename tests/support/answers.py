"""Answers of workers without a process."""

from pathlib import Path

import numpy as np

from mnbench.model.reference import reference_outputs
from mnbench.targets.answers import decode_answer


def trial_message(outputs, **facts):
    """Return what an honest worker answers to the request of a trial with these outputs."""
    return {
        "session_ns": 2_000_000,
        "first_run_ns": 1_500_000,
        "warmup_ns": [1_100_000] * 3,
        "latencies_ns": [1_000_000 + 100 * index for index in range(200)],
        "cpu_ns": [900_000] * 200,
        "peak_rss_bytes": 50_000_000,
        "outputs": [(str(array.dtype), array.shape, array.tobytes()) for array in outputs],
        "copies_ns": {},
        "placement": None,
        "threads": 1,
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

    It keeps the requests, with the models themselves in place of their paths.
    """

    def __init__(self):
        self.requests = []
        self.changes = {}
        self.perturb = list

    def __call__(self, device, request, answer, *, timeout_s, **_):
        if isinstance(request["model"], str):
            request["model"] = Path(request["model"]).read_bytes()
        self.requests.append((device, request, timeout_s))
        message = trial_message(self.perturb(self.outputs(request)), threads=request["threads"] or 2)
        message["runtime"] |= {"name": device.runtime}
        changes = {key: change() for key, change in self.changes.items()}
        return decode_answer(f"device {device.name}", message | changes, answer)

    @staticmethod
    def outputs(request):
        """What the model answers."""
        feed = {
            name: np.frombuffer(data, dtype).reshape(shape) for name, (dtype, shape, data) in request["inputs"].items()
        }
        return reference_outputs(request["model"], feed, name="fake")
