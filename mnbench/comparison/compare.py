"""A comparison from its sides to its judgement."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mnbench.bench.plan import Cell
from mnbench.bench.prepare import prepare
from mnbench.comparison.cases import refusal
from mnbench.comparison.decide import Finding, Judgement, overall
from mnbench.comparison.paired_trial import Arm, Row
from mnbench.comparison.procedure import Contest, Settings
from mnbench.comparison.sides import Pairing, Setup
from mnbench.comparison.storage import Kept
from mnbench.errors import MnbenchError
from mnbench.model.build import make
from mnbench.network.variant import OnnxFile, Source
from mnbench.targets.device import Device


class Preparation:
    """Pairings on their way to rows; each model is made once, in `folder`."""

    def __init__(self, device: Device, folder: Path, settings: Settings) -> None:
        self.rows: list[Row] = []
        self.known: list[Finding] = []
        self._device = device
        self._folder = folder
        self._settings = settings
        self._cells: list[tuple[Source, Cell]] = []

    def add(self, pairing: Pairing, *, alone: bool) -> None:
        """Make a row's models, or a finding that says why not. The only row of all may as well fail.

        Raises:
            MnbenchError: a model of the only row cannot be made, or a runtime not be installed.
        """
        base, candidate = pairing.base, pairing.base if self._settings.self_check else pairing.candidate
        if base is None or candidate is None:
            where = "the base" if base is None else "the candidate"
            self._know(pairing, "missing", f"{where} has no such file", lift="missing")
            return
        arms: list[Arm] = []
        for which, (source, setup) in (("base", base), ("candidate", candidate)):
            try:
                arms.append(self._arm(pairing, source, setup))
            except MnbenchError as failure:
                if alone:
                    raise
                self._know(pairing, "incomparable" if which == "base" else "missing", f"the {which}: {failure.message}")
                return
        row = Row(variant=pairing.variant, base=arms[0], candidate=arms[1])
        files = all(isinstance(source, OnnxFile) for source, _ in (base, candidate))
        reason = refusal(row, self._settings.allow, same_kind=files)
        if reason:
            self._know(pairing, "incomparable", reason)
        else:
            self.rows.append(row)

    def _arm(self, pairing: Pairing, source: Source, setup: Setup) -> Arm:
        device = setup.device(self._device)
        wanted = setup.source(source)
        cell = next((cell for known, cell in self._cells if known == wanted), None)
        if cell is None:
            made = make(wanted, seed=self._settings.seed, simplified=not isinstance(wanted, OnnxFile))
            cell = prepare(made, self._folder, variant=pairing.variant, seed=self._settings.seed)
            self._cells.append((wanted, cell))
        return Arm(cell=cell, device=device)

    def _know(self, pairing: Pairing, verdict: str, reason: str, *, lift: str = "") -> None:
        if lift and lift in self._settings.allow:
            return
        hint = f" (--allow {lift})" if lift else ""
        self.known.append(
            Finding(
                variant=pairing.variant,
                device=self._device.name,
                verdict="missing" if verdict == "missing" else "incomparable",
                reason=reason + hint,
            )
        )


def compare(
    rows: Sequence[Row],
    known: Sequence[Finding],
    settings: Settings,
    *,
    names: tuple[str, str],
    folder: Path | None,
    seen: Callable[[str], object],
) -> Judgement:
    """Measure the rows and judge the table; `names` are those of base and candidate, `folder` keeps the pairs.

    Raises:
        RuntimeUnavailable, GatewayError: nothing can be measured on this device.
        FileError: the pairs cannot be kept.
    """
    begin = time.monotonic()
    contest = Contest(rows, settings, Kept(folder), seen=seen)
    _, findings = contest.held(*names, known=known)
    return Judgement(
        verdict=overall(findings, settings.allow),
        base=names[0],
        candidate=names[1],
        findings=findings,
        rules=settings.rules,
        seed=settings.seed,
        run=folder.name if folder else None,
        duration_s=round(time.monotonic() - begin, 1),
    )
