"""Requirements: names of packages with versions, and nothing else that pip or uv would take."""

import re

from packaging.requirements import InvalidRequirement, Requirement

ARCHIVE = re.compile(r"\.(whl|zip|tar|tgz|tbz|txz|gz|bz2|xz|lzma)$", re.IGNORECASE)
"""How names end that pip takes for a file, if there is one."""


def check_requirement(text: str) -> None:
    """Refuse a path, a URL, an option, a file, a marker and an arbitrary version.

    Raises:
        ValueError: the text is not a package's name with versions.
    """
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        requirement = None
    if (
        requirement is None
        or requirement.url
        or requirement.marker
        or any(specifier.operator == "===" for specifier in requirement.specifier)
        or ARCHIVE.search(requirement.name)
    ):
        raise ValueError(f"{text!r} is not a package's name with versions, such as onnxruntime==1.30.0")
