"""Run pip, uv, venv and Debian's tools: with the variables that they need, and outside the current folder."""

import logging
import os
import re
import shlex
from collections.abc import Mapping, Sequence

from mnbench.errors import RuntimeUnavailable
from mnbench.programs import needed_environment, run_program
from mnbench.workspace import cache_folder

logger = logging.getLogger(__name__)

INDEX_VARIABLE = re.compile(
    r"PIP_\w+|UV_(DEFAULT_|EXTRA_)?INDEX\w*|UV_FIND_LINKS|UV_CACHE_DIR|APT_CONFIG"
    r"|NPM_CONFIG_(REGISTRY|CAFILE|CACHE)|NODE_EXTRA_CA_CERTS"
    r"|(HTTPS?|ALL|NO|FTP)_PROXY|SSL_CERT_\w+|\w+_CA_BUNDLE|NETRC",
    re.IGNORECASE,
)
"""Variables of the user by which a package index is reached."""

ERROR = re.compile(r"^(e|error|dpkg-deb: error): *", re.IGNORECASE)
"""How apt, pip, uv and dpkg begin an error."""


def installer_environment() -> dict[str, str]:
    """Return what an installer needs; nothing leads into the current folder or into another environment."""
    needed = {name: value for name, value in needed_environment().items() if not name.startswith("PYTHON")}
    return needed | {name: value for name, value in os.environ.items() if INDEX_VARIABLE.fullmatch(name)}


def run_installer(
    command: Sequence[str], problem: str, *, hint: str, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command in the cache, with these variables added, and return what it prints.

    Raises:
        RuntimeUnavailable: it failed; `problem` says what that means.
    """
    logger.info("running %s", shlex.join(command))
    variables = {**installer_environment(), "LC_ALL": "C", **(environment or {})}
    done = run_program(command, folder=cache_folder(), environment=variables)
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode:
        lines = [line.strip() for line in f"{output}\n{errors}".splitlines() if line.strip()]
        full = [line for line in lines if "No space left" in line or "enough free space" in line]
        reasons = full or list(filter(ERROR.match, lines)) or lines[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeUnavailable(
            f"{problem}: {ERROR.sub('', reasons[0])[:200]}",
            hint="free some space, or name another folder with MNBENCH_CACHE" if full else hint,
        )
    return output
