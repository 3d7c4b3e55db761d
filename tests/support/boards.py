"""Boards that answer as a test wants: gateways without a process, behind execnet's own serializer."""

import struct

import execnet
import numpy as np
from execnet import gateway_base
from execnet.gateway_base import opcode

DEEP = "a tuple in 100,000 others"
"""A text that is delivered as that; execnet itself cannot send one."""


def trial_message(request):
    """Return what an honest worker answers to the request of a trial whose model returns its input's magnitude."""
    outputs = [np.abs(_array(packed)) for packed in request["inputs"].values()]
    return {
        "session_ns": 2_000_000,
        "first_run_ns": 1_500_000,
        "warmup_ns": [1_100_000] * 3,
        "latencies_ns": [1_000_000 + 100 * index for index in range(200)],
        "cpu_ns": [900_000] * 200,
        "peak_rss_bytes": 50_000_000,
        "outputs": [(str(array.dtype), array.shape, array.tobytes()) for array in outputs],
        "copies_ns": {},
        "placement": {"CPUExecutionProvider": ["magnitude"]},
        "threads": 1,
        "runtime": {"name": "onnxruntime", "version": "1.2.3", "build": "Release", "library_sha256": "0" * 64},
        "conditions": [{"at_ns": 0}, {"at_ns": 10**9}],
        "gpu": None,
        "host": {"cpu": "a CPU", "cores": 2},
    }


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
