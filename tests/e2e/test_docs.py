"""The documentation's examples run, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from checkpoints import tensors
from common import own_model
from onnx_graphs import speech_model
from safetensors.numpy import save_file

from mnbench.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

SHORT = {"run": ["--processes", "1", "--duration", "0.01", "--budget", "1ms"], "study": ["--budget", "1ms"]}
"""What makes a command that measures quick."""

FILE = re.compile(r"^```toml\n# (\S+\.toml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""A file that a page shows, with its path in the first line."""


def examples(page):
    """The `mnbench` command lines of a page's console blocks."""
    blocks = [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == "console"]
    lines = [line.removeprefix("$ ").partition("   ")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("mnbench ")]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, invoke, workspace):
    """Every example of a page runs as it stands, in their order, in one folder; measurements are cut short."""
    for path, text in FILE.findall(page.read_text(encoding="utf-8")):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    for words in examples(page):
        if "my_model.onnx" in words:
            assert invoke("build", "v1", "--alpha", "0.25", "--res", "32", "-o", "my_model.onnx").exit_code == 0
        if "speech.onnx" in words:
            Path("speech.onnx").write_bytes(speech_model().SerializeToString())
        for path in (Path(word.rpartition("=")[2]) for word in words if word.endswith("/model.onnx")):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(own_model())
        for path in (Path(word) for word in words if word.endswith(".safetensors")):
            save_file(tensors("v2", "torchvision", 0.5), path)
        for path in (Path(word) for word in words if word.endswith(".npy")):
            np.save(path, np.random.default_rng(0).standard_normal((2, 3, 160, 160)).astype(np.float32))
        short = SHORT.get(words[0], [])
        result = invoke(*words, *short)
        assert (words, 0, "") == (words, result.exit_code, result.stderr if result.exit_code else "")
    assert workspace.is_dir()


@pytest.mark.slow
def test_the_python_of_the_readme_runs(workspace, capsys):
    """The lines of Python run as they stand, and print a table."""
    (lines,) = [text for kind, text in FENCE.findall(PAGES[0].read_text(encoding="utf-8")) if kind == "python"]
    exec(lines, {})  # noqa: S102  our own page
    assert "latency" in capsys.readouterr().out
    assert (workspace / "v1.onnx").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Links to files of the repository name files that are there."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name):
    """Each command has its section, and an example that docs or help give."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = text.partition(f"## mnbench {name}\n")[2]
    assert "Example:" in section
