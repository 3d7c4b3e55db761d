"""A program that speaks execnet as it likes, in place of a Python: one line in a bounded time, no process left."""

# ruff: noqa: SIM300  expected == actual

import os
import sys
import time

import pytest
from common import processes, until

from mnbench.errors import MnbenchError
from mnbench.hosts.host_facts import read_host
from mnbench.targets import start, transport

PROGRAM = """#!{python}
import os, struct, sys, time

def send(code, channel, data):
    os.write(1, struct.pack("!bii", code, channel, len(data)) + data)

def swallow():
    while os.read(0, 2**20):
        pass

CHANNEL, DATA, CLOSE_ERROR = 1, 4, 6
os.read(0, 2**20)
os.write(1, b"1")
os.read(0, 1)  # the channel is there
{code}
"""

PROGRAMS = {
    "never reads": "time.sleep(60)",
    "sends data without end": "while True: send(DATA, 99, bytes(2**16))",
    "sends a list of 2^31": "send(DATA, CHANNEL, b'K' + struct.pack('!i', 2**31 - 1) + b'Q'); swallow()",
    "reports an error with escape sequences": (
        "text = b'\\x1b[2J'; send(CLOSE_ERROR, CHANNEL, b'N' + struct.pack('!i', len(text)) + text + b'Q'); swallow()"
    ),
    "reports an error of a channel that there is not": (
        "text = b'\\x1b[2J'; send(CLOSE_ERROR, 99, b'N' + struct.pack('!i', len(text)) + text + b'Q'); swallow()"
    ),
}


@pytest.mark.parametrize("attempt", PROGRAMS)
def test_a_program_in_place_of_a_python(attempt, make_device, tmp_path, monkeypatch, capfd):
    """It is one printable line; nothing of it reaches the terminal."""
    program = tmp_path / "python"
    program.write_text(PROGRAM.format(python=sys.executable, code=PROGRAMS[attempt]))
    program.chmod(0o755)
    for module in (start, transport):
        monkeypatch.setattr(module, "START_TIMEOUT_S", 1.0)
    monkeypatch.setattr(start, "MAX_RECEIVED_BYTES", 2**24)
    before, begin = processes(parent=os.getpid()), time.monotonic()
    with pytest.raises(MnbenchError) as caught:
        read_host(make_device(gateway=f"popen//python={program}"))

    assert time.monotonic() - begin < 10
    assert caught.value.message.startswith("device cpu: ")
    assert caught.value.message.isprintable()
    assert ("", "") == capfd.readouterr()
    assert until(lambda: before >= processes(parent=os.getpid()))
