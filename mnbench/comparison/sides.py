"""What `mnbench compare BASE CANDIDATE` compares: files, folders, variants, precisions, settings or runtime builds."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast, get_args

import msgspec

from mnbench.bench.aggregate import session_options
from mnbench.errors import BuildError, FileError, RuntimeUnavailable
from mnbench.families import parse_variant
from mnbench.network.variant import ModelSource, OnnxFile, Precision, Variant
from mnbench.results.record import SessionOptions
from mnbench.targets.device import Device
from mnbench.targets.environments import create_environment, is_used_by, required_packages, with_packages
from mnbench.targets.runtimes import runtime_facts, runtime_names
from mnbench.targets.transport import shares_files

RUNTIME_PATTERN = re.compile(rf"(?:{'|'.join(runtime_names())})(?:-[a-z0-9-]+)?(?:\s*[=<>!~]=?.*)?", re.IGNORECASE)
SETTING_PREFIXES = [re.escape(prefix) for name in runtime_names() for prefix in runtime_facts(name).setting_prefixes]
SETTING_PATTERN = re.compile(rf"(?:provider\.|{'|'.join(SETTING_PREFIXES)})[\w.]*=[^=]*|threads=\d+")
DEFAULT = "default"
"""The side that runs with the settings of the device file."""


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
            python = create_environment(*required_packages(extended), no_deps=extended.requires_no_deps)
            gateway = f"popen//python={shlex.quote(str(python))}"
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
            BuildError: the source is a file.
        """
        if self.precision is None:
            return source
        if isinstance(source, OnnxFile):
            raise BuildError(f"{source.path}: has a fixed precision", hint="compare it with another file")
        return replace(source, precision=self.precision)


Side: TypeAlias = ModelSource | Path | SideOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRequest:
    """A row to compare; a side that does not exist is None."""

    variant: str
    baseline: tuple[ModelSource, SideOptions] | None
    candidate: tuple[ModelSource, SideOptions] | None


def parse_side(text: str) -> Side:  # noqa: PLR0911  one return a kind
    """Parse one side of a comparison; a Path is a folder.

    Raises:
        FileError: the file or folder does not exist.
        BuildError: it cannot be compared.
    """
    path = Path(text)
    if path.is_dir():
        return path
    if text.endswith(".onnx"):
        if not path.exists():
            raise FileError(f"{text}: the file does not exist", hint="name an .onnx file that you can read")
        return OnnxFile(path=path)
    if text == DEFAULT:
        return SideOptions()
    if text in get_args(Precision):
        return SideOptions(precision=cast("Precision", text))
    if RUNTIME_PATTERN.fullmatch(text):
        return SideOptions(requirement=text)
    settings = text.split(",")
    if all(map(SETTING_PATTERN.fullmatch, settings)):
        return SideOptions(settings=dict(setting.split("=", 1) for setting in settings))
    try:
        return parse_variant(text)
    except BuildError as failure:
        raise BuildError(
            failure.message,
            hint="compare .onnx files, folders of them, variants such as v1-a0.5-r160, fp32 with int8, "
            "onnxruntime==1.30.0 with onnxruntime, or session.KEY=VALUE with default",
        ) from failure


def pair_sides(base: Side, candidate: Side, graphs: Sequence[ModelSource]) -> list[ComparisonRequest]:
    """Return the rows of a comparison.

    Raises:
        BuildError: the sides are of different kinds, or graphs are missing or superfluous.
    """
    if isinstance(base, SideOptions) and isinstance(candidate, SideOptions):
        if not graphs:
            raise BuildError(
                "no graphs to compare them with", hint="name some: mnbench compare fp32 int8 v1 --alpha 0.5"
            )
        if (base.precision is None) != (candidate.precision is None):
            raise BuildError("compare a precision with another precision", hint="mnbench compare fp32 int8 v1")
        return [
            ComparisonRequest(
                variant=source.name,
                baseline=(base.with_precision(source), base),
                candidate=(candidate.with_precision(source), candidate),
            )
            for source in graphs
        ]
    if graphs:
        raise BuildError(
            "GRAPH is for comparisons of precisions, settings or runtimes",
            hint="remove the graphs and their options",
        )
    if isinstance(base, Path) and isinstance(candidate, Path):
        return _pair_files(base, candidate)
    if isinstance(base, Variant | OnnxFile) and isinstance(candidate, Variant | OnnxFile):
        return [
            ComparisonRequest(
                variant=candidate.name, baseline=(base, SideOptions()), candidate=(candidate, SideOptions())
            )
        ]
    raise BuildError("BASE and CANDIDATE are of two kinds", hint="compare two files, two folders or two variants")


def _pair_files(base: Path, candidate: Path) -> list[ComparisonRequest]:
    """Pair files of the same name in two folders; subfolders are part of the name."""
    base_files, candidate_files = (
        {
            str(path.relative_to(folder).with_suffix("")): (OnnxFile(path=path), SideOptions())
            for path in folder.rglob("*.onnx")
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
