"""The variables that pip, uv and apt get."""

import os
import re

from mnbench.programs import needed_environment

INDEX_VARIABLE = re.compile(
    r"PIP_\w+|UV_(DEFAULT_|EXTRA_)?INDEX\w*|UV_FIND_LINKS|UV_CACHE_DIR|APT_CONFIG"
    r"|(HTTPS?|ALL|NO|FTP)_PROXY|SSL_CERT_\w+|\w+_CA_BUNDLE|NETRC",
    re.IGNORECASE,
)
"""Variables of the user by which a package index is reached."""


def installer_environment() -> dict[str, str]:
    """Return what an installer needs; nothing leads into the current folder or into another environment."""
    needed = {name: value for name, value in needed_environment().items() if not name.startswith("PYTHON")}
    return needed | {name: value for name, value in os.environ.items() if INDEX_VARIABLE.fullmatch(name)}
