"""A board for tests: a real sshd on this machine, in whose sessions all temporary files lie in a folder of its own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from common import until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv TMPDIR={folder}/far
"""

CLIENT = """
Host board stranger changed
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user
  IdentitiesOnly yes
  GlobalKnownHostsFile /dev/null
Host board
  UserKnownHostsFile {folder}/known
Host stranger
  UserKnownHostsFile /dev/null
Host changed
  UserKnownHostsFile {folder}/known_before
Host locked
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/other
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile /dev/null
Host closed
  HostName 127.0.0.1
  Port 1
"""


class Board:
    """What runs there, what it leaves behind, and how a profile reaches it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.far = folder / "far"
        self.far.mkdir()
        for name in ("host", "user", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        facts = {"port": port, "folder": folder, "user": getpass.getuser()}
        (folder / "sshd_config").write_text(CONFIG.format(**facts))
        (folder / "config").write_text(CLIENT.format(**facts))
        for name, key in (("known", "host"), ("known_before", "other")):
            public = " ".join((folder / f"{key}.pub").read_text().split()[:2])
            (folder / name).write_text(f"[127.0.0.1]:{port} {public}\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in until a user is known
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=self.log)
        assert until(lambda: "listening on" in (folder / "log").read_text()), (folder / "log").read_text()

    def gateway(self, *, host="board", python=sys.executable):
        """What a profile says."""
        return f"ssh={host}//ssh_config={self.folder / 'config'}//python={python}"

    def processes(self):
        """The living processes that were started there, by their ids."""
        mark = f"TMPDIR={self.far}".encode()
        return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)}

    def is_clean(self):
        """Nothing runs there, and no file is left."""
        return not self.processes() and not list(self.far.iterdir())

    def stop(self):
        """End it, and what it left."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.terminate()
        self.process.wait()
        self.log.close()


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


KILL_CONNECTION = """
import os, signal
process = os.getpid()
while open(f"/proc/{process}/comm").read().strip() not in ("sshd", "sshd-session"):
    process = int(open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[1])
os.kill(process, signal.SIGKILL)
"""
"""For a worker's code: the server's side of its connection is killed."""
