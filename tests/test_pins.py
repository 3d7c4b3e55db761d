"""Pins: a package has one version in this checkout, wherever it is pinned."""

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = sorted((ROOT / "benchmarks").rglob("requirements.txt"))


def pins(path):
    """Return the packages that a file pins, with their versions."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_pins_agree():
    """The benchmarks' environments agree with the constraints, which pip applies to them, and with each other."""
    assert REQUIREMENTS
    versions = defaultdict(dict)
    for path in (CONSTRAINTS, *REQUIREMENTS):
        for name, version in pins(path).items():
            versions[name][path.relative_to(ROOT).as_posix()] = version
    assert {name: places for name, places in versions.items() if len(set(places.values())) > 1} == {}


def test_benchmarks_use_the_constraints():
    """Each file of requirements applies the constraints, so a package without a pin there has the same version here."""
    for path in REQUIREMENTS:
        (applied,) = [
            line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("--constraint ")
        ]
        assert (path.parent / applied.removeprefix("--constraint ")).resolve() == CONSTRAINTS
