"""Boards that answer as a test wants: gateways without a process, behind execnet's own serializer."""

import struct

import execnet
import numpy as np
from answers import session_message, trial_message
from execnet import gateway_base
from execnet.gateway_base import opcode

DEEP = "a tuple in 100,000 others"
"""A text that is delivered as that; execnet itself cannot send one."""


def honest_session(request):
    """Return the facts of an honest session whose model returns its input's magnitude."""
    outputs = [np.abs(_array(packed)) for packed in request["inputs"].values()]
    return session_message(outputs, placement={"CPUExecutionProvider": ["magnitude"]})


def honest_trial(request):
    """Return what an honest worker answers to the request of a trial of such sessions."""
    return trial_message([honest_session(session) for session in request["sessions"]], sides=request["sides"])


def host_message():
    """Return what an honest worker says of its host."""
    now = {"at_ns": 0, "load_1min": 0.1}
    facts = {"cpu": "a CPU", "cores": 2, "allowed_cpus": "0-1"}
    return {"facts": facts, "runtime_version": "1.2.3", "before": now, "conditions": now | {"at_ns": 1}, "gpu": None}


def profile_message():
    """Return an honest profile of one kernel."""
    kernel = {"name": "magnitude", "op": "Abs", "provider": "CPUExecutionProvider", "tensors": 2, "duration_ns": 900}
    probe = [kernel | {"tensors": tensors} for tensors in (2, 3)]
    return {"nodes": [kernel], "probe": probe, "threads": 1, "runtime_version": "1.2.3"}


def outputs_message(request):
    """Return honest outputs for all inputs."""
    outputs = [honest_session({"inputs": inputs})["outputs"] for inputs in request["inputs"]]
    return {"outputs": outputs, "placement": None, "runtime_version": "1.2.3"}


def _array(packed):
    dtype, shape, data = packed
    return np.frombuffer(data, dtype).reshape(shape)


def _serialized(message):
    text = execnet.dumps(DEEP).removeprefix(gateway_base.DUMPFORMAT_VERSION).removesuffix(opcode.STOP)
    deep = opcode.NONE + (opcode.BUILDTUPLE + struct.pack("!i", 1)) * 100_000
    return execnet.dumps(message).replace(text, deep)


class Board:
    """A gateway whose worker answers each request with `messages(request)`, and then no more."""

    _io = None

    def __init__(self, messages):
        self.messages = messages
        self.channels = []

    def remote_exec(self, _source):
        """Start a worker."""
        self.channels.append(Channel(self.messages))
        return self.channels[-1]


class Channel:
    def __init__(self, messages):
        self.messages, self.left, self.waits_s = messages, iter(["ready"]), []

    def send(self, message):
        """Take the worker's sources, or a request."""
        if isinstance(message, dict) and "kind" in message:
            self.left = iter(self.messages(message))

    def receive(self, timeout=None):
        """Return the next message as execnet delivers it."""
        self.waits_s.append(timeout)
        try:
            return execnet.loads(_serialized(next(self.left)))
        except StopIteration:
            raise gateway_base.TimeoutError from None
