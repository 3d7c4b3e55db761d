"""What a board of a fleet does for a Dask task: it keeps models, and visits cells as if it had been asked itself."""

import hashlib
from dataclasses import replace
from importlib import resources
from pathlib import Path

import msgspec
from distributed import get_worker

import mnbench
from mnbench import errors
from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.trial import run_trial
from mnbench.errors import MnbenchError
from mnbench.results.trial_result import TrialResult
from mnbench.targets.environments import prepare_device

Failure = tuple[str, str, str]
"""An error's name, message and hint."""


def source_fingerprint() -> str:
    """The version of mnbench and the hash of its sources: what must be the same on both sides."""
    digest = hashlib.sha256()
    for path in sorted(Path(str(resources.files(mnbench))).rglob("*.py")):
        digest.update(path.read_bytes())
    return f"{mnbench.__version__} ({digest.hexdigest()[:8]})"


def store_file(name: str, data: bytes) -> None:
    """Write a file into the Dask worker's own folder, which it removes when it ends."""
    (_folder() / name).write_bytes(data)


def run_trial_on_board(plan: Plan, case: BenchmarkCase) -> TrialResult | Failure:
    """Visit the cell, whose files are kept under their names, on this machine."""
    here = plan.device.gateway if plan.device.gateway.startswith("popen") else "popen"
    near = replace(case, path=_folder() / case.path, inputs_path=_folder() / case.inputs_path)
    try:
        device = prepare_device(msgspec.structs.replace(plan.device, gateway=here))
        return run_trial(replace(plan, device=device), near)
    except MnbenchError as failure:
        return type(failure).__name__, failure.message, failure.hint


def to_error(failure: Failure) -> MnbenchError:
    """The error that a board met."""
    kind, message, hint = failure
    return getattr(errors, kind)(message, hint=hint)


def _folder() -> Path:
    folder = Path(get_worker().local_directory) / "mnbench"
    folder.mkdir(exist_ok=True)
    return folder
