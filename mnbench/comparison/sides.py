"""What `mnbench compare BASE CANDIDATE` compares: files, folders, variants, precisions, settings or runtime builds."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

import msgspec

from mnbench.bench.aggregate import session_options
from mnbench.errors import BuildError, RuntimeUnavailable
from mnbench.network.variant import ModelSource, OnnxFile, Precision
from mnbench.results.record import SessionOptions
from mnbench.targets.device import Device
from mnbench.targets.environments import create_environment, is_used_by, with_packages
from mnbench.targets.requirements import check_requirement
from mnbench.targets.runtimes import runtime_facts, runtime_names
from mnbench.targets.transport import shares_files

RUNTIME_PATTERN = re.compile(rf"(?:{'|'.join(runtime_names())})(?:-[a-z0-9-]+)?(?:\s*[=<>!~]=?.*)?", re.IGNORECASE)
SETTING_PREFIXES = [re.escape(prefix) for name in runtime_names() for prefix in runtime_facts(name).setting_prefixes]
SETTING_PATTERN = re.compile(rf"(?:provider\.|{'|'.join(SETTING_PREFIXES)})[\w.]*=[^=]*|threads=\d+")
DEFAULT = "default"
"""The side that runs with the settings of the device file."""

Side: TypeAlias = Any
"""What names a side: options or a folder as text, or a model as `select` takes it."""

Select: TypeAlias = Callable[[Any], Sequence[ModelSource]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideOptions:
    """How a side runs, if the sides differ in that. `session` replaces the options of the device file."""

    requirement: str = ""
    session: SessionOptions | None = None
    precision: Precision | None = None
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def configure_device(self, device: Device) -> Device:
        """Return the device with the side's settings.

        Raises:
            BuildError: the device has another runtime.
            RuntimeUnavailable: the runtime's build cannot be installed.
        """
        session = self.session or session_options(device)
        options, provider_options = dict(session.options), dict(session.provider_options)
        threads = device.threads
        for key, value in self.settings.items():
            if key == "threads":
                threads = int(value)
            elif key.startswith("provider."):
                provider_options[key.removeprefix("provider.")] = value
            else:
                options[key] = value
        gateway = device.gateway
        # A runtime's name without a version is the build that the device has.
        if self.requirement and self.requirement != device.runtime:
            if not shares_files(device):
                raise RuntimeUnavailable(
                    f"device {device.name}: {self.requirement} is not installed on other machines",
                    hint="write a device file whose `gateway` names a Python that has it, or compare on this machine",
                )
            if not is_used_by(self.requirement, device):
                raise BuildError(
                    f"device {device.name} measures with {device.runtime}, and not with {self.requirement}",
                    hint=f"name another device, or compare {device.runtime}==VERSION",
                )
            extended = with_packages(device, [self.requirement])
            gateway = f"popen//python={shlex.quote(str(create_environment(extended)))}"
        return msgspec.structs.replace(
            device,
            options=options,
            provider_options=provider_options,
            environment=session.environment,
            threads=threads,
            gateway=gateway,
        )

    def with_precision(self, source: ModelSource) -> ModelSource:
        """Return the variant in the side's precision.

        Raises:
            BuildError: the source is a file, or a variant whose precision is set.
        """
        if self.precision is None:
            return source
        if isinstance(source, OnnxFile):
            raise BuildError(f"{source.path}: has a fixed precision", hint="compare it with another file")
        if source.precision != "fp32":
            raise BuildError(
                f"{source.name} is in {source.precision}, and the sides are precisions",
                hint="name it without its precision, and leave --precision out",
            )
        return replace(source, precision=self.precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """A row to compare; a side that does not exist is None. `note` says how the sides were chosen."""

    variant: str
    baseline: tuple[ModelSource, SideOptions] | None
    candidate: tuple[ModelSource, SideOptions] | None
    note: str = ""


def parse_options(text: str) -> SideOptions | None:
    """Parse a precision, settings or a runtime build; return None for anything else."""
    if text == DEFAULT:
        return SideOptions()
    if text in get_args(Precision):
        return SideOptions(precision=cast("Precision", text))
    if RUNTIME_PATTERN.fullmatch(text):
        try:
            check_requirement(text)
        except ValueError as failure:
            raise BuildError(
                str(failure), hint="name a version: mnbench compare onnxruntime==1.30.0 onnxruntime v1"
            ) from failure
        return SideOptions(requirement=text)
    settings = text.split(",")
    if all(map(SETTING_PATTERN.fullmatch, settings)):
        return SideOptions(settings=dict(setting.split("=", 1) for setting in settings))
    return None


def pair_sides(base: Side, candidate: Side, graphs: Sequence[Side], select: Select) -> list[ComparisonRequest]:
    """Return the rows of a comparison: options with the `graphs` to compare them with, two models or two folders.

    `select` returns the models that a side names, with the user's options applied.

    Raises:
        BuildError: the sides are of different kinds, or graphs are missing or superfluous.
    """
    options = [parse_options(side) if isinstance(side, str) else None for side in (base, candidate)]
    if options[0] and options[1]:
        return _pair_options(options[0], options[1], [model for graph in graphs for model in select(graph)])
    if graphs:
        raise BuildError(
            "GRAPH is for comparisons of precisions, settings or runtimes",
            hint="remove the graphs",
        )
    folders = [isinstance(side, str) and Path(side).is_dir() for side in (base, candidate)]
    if options[0] or options[1] or folders[0] != folders[1]:
        raise BuildError("BASE and CANDIDATE are of two kinds", hint="compare two files, two folders or two variants")
    if folders[0]:
        return _pair_files(Path(base), Path(candidate), select)
    return _pair_models(select(base), select(candidate))


def _pair_options(base: SideOptions, candidate: SideOptions, models: Sequence[ModelSource]) -> list[ComparisonRequest]:
    if not models:
        raise BuildError("no graphs to compare them with", hint="name some: mnbench compare fp32 int8 v1 --alpha 0.5")
    if (base.precision is None) != (candidate.precision is None):
        raise BuildError("compare a precision with another precision", hint="mnbench compare fp32 int8 v1")
    return [
        ComparisonRequest(
            variant=model.name,
            baseline=(base.with_precision(model), base),
            candidate=(candidate.with_precision(model), candidate),
        )
        for model in models
    ]


def _pair_models(base: Sequence[ModelSource], candidate: Sequence[ModelSource]) -> list[ComparisonRequest]:
    """Pair models in order."""
    if len(base) != len(candidate):
        raise BuildError(
            f"BASE selects {len(base)} models and CANDIDATE {len(candidate)}", hint="name two variants or two files"
        )
    return [
        ComparisonRequest(variant=new.name, baseline=(old, SideOptions()), candidate=(new, SideOptions()))
        for old, new in zip(base, candidate, strict=True)
    ]


def _pair_files(base: Path, candidate: Path, select: Select) -> list[ComparisonRequest]:
    """Pair files of the same name in two folders; subfolders are part of the name."""
    base_files, candidate_files = (
        {
            f"{path.relative_to(folder).with_suffix('')}{getattr(model, 'input_options', '')}": (model, SideOptions())
            for path in folder.rglob("*.onnx")
            for model in select(str(path))
        }
        for folder in (base, candidate)
    )
    names = sorted(base_files.keys() | candidate_files.keys())
    if not names:
        raise BuildError(f"{base} and {candidate} hold no .onnx files", hint="choose folders with .onnx files")
    return [
        ComparisonRequest(variant=name, baseline=base_files.get(name), candidate=candidate_files.get(name))
        for name in names
    ]
