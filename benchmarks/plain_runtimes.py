"""The plainest timed loop a person would write over each runtime; `runtimes.py` compares mnbench with it.

It runs in the runtime's own environment: PYTHON -m benchmarks.plain_runtimes REQUEST

REQUEST is JSON: `runtime`, `model` (a file that the runtime reads), `provider`, `options`, `block_runs` and `blocks`.
Prints JSON: of mnbench's timed loop and of the plain one, the nanoseconds of each run, after a block each to warm up.
"""

# ruff: noqa: PLC0415  a runtime is imported where it is the one that is asked for

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from mnbench.worker.runtimes import SessionSettings, split_parts
from mnbench.worker.timing import time_sequence

SHAPE = (1, 3, 160, 160)
SESSIONS = 2
"""Sessions of each loop in a process, as two sessions of one loop differ too."""
Run = Callable[[], Any]


def openvino(path: str, image: Any, options: dict[str, str]) -> Run:
    """One thread, for latency."""
    from openvino import Core, Tensor

    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1", **options}
    request = Core().compile_model(path, "CPU", settings).create_infer_request()
    request.set_input_tensor(Tensor(image, shared_memory=True))
    return request.infer


def ncnn(path: str, image: Any, options: dict[str, str]) -> Run:
    """Pnnx's text and weights, from the file that mnbench keeps both in."""
    from ncnn import Mat, Net

    _, text = split_parts(Path(path).read_bytes())
    net = Net()
    net.opt.num_threads = 1
    for name, value in options.items():
        setattr(net.opt, name, value == "1")
    net.load_param_mem(text.decode())
    net.load_model(path)
    mat = Mat(image[0])

    def run() -> None:
        extractor = net.create_extractor()
        extractor.input("in0", mat)
        extractor.extract("out0")

    return run


def mnn(path: str, image: Any, options: dict[str, str]) -> Run:
    """The session API, with copies in and out."""
    import MNN

    net = MNN.Interpreter(path)
    session = net.createSession({"backend": "CPU", "numThread": 1, **options})
    entry, result = net.getSessionInput(session), net.getSessionOutput(session)
    shape, layout = result.getShape(), MNN.Tensor_DimensionType_Caffe
    values = MNN.Tensor(SHAPE, MNN.Halide_Type_Float, image, layout)
    logits = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), layout)

    def run() -> None:
        entry.copyFrom(values)
        net.runSession(session)
        result.copyToHostTensor(logits)

    return run


def opencv(path: str, image: Any, _: dict[str, str]) -> Run:
    """The default engine."""
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(path)

    def run() -> None:
        net.setInput(image)
        net.forward()

    return run


def tract(path: str, image: Any, _: dict[str, str]) -> Run:
    """Inputs are copied to tract once."""
    from tract import Onnx, Tensor

    state = Onnx().load(path).into_model().into_runnable().spawn_state()
    values = [Tensor.from_numpy(image)]
    return lambda: state.run(values)


def iree(path: str, image: Any, _: dict[str, str]) -> Run:
    """In the calling thread."""
    import iree.runtime

    config = iree.runtime.Config("local-sync")
    module = iree.runtime.load_vm_module(iree.runtime.VmModule.mmap(config.vm_instance, path), config)
    (name,) = (name for name in module.vm_module.function_names if not name.startswith("_") and "$" not in name)
    function, values = module[name], iree.runtime.asdevicearray(config.device, image)
    return lambda: function(values)


def tvm(path: str, image: Any, _: dict[str, str]) -> Run:
    """Relax's virtual machine, with one thread."""
    import tvm
    from tvm import relax

    tvm.get_global_func("runtime.config_threadpool")(1, 1)
    main = relax.VirtualMachine(tvm.runtime.load_module(path), tvm.cpu())["main"]
    values = tvm.runtime.tensor(image)
    return lambda: main(values)


def litert(path: str, image: Any, _: dict[str, str]) -> Run:
    """The interpreter, which applies XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    net = Interpreter(path, num_threads=1)
    net.allocate_tensors()
    net.set_tensor(net.get_input_details()[0]["index"], image.transpose(0, 2, 3, 1))
    return net.invoke


def executorch(path: str, image: Any, _: dict[str, str]) -> Run:
    """One method of the program, which has a single thread."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    portable_lib._unsafe_reset_threadpool(1)  # noqa: SLF001  ExecuTorch has no public way
    program = Runtime.get().load_program(split_parts(Path(path).read_bytes())[0])  # lives as long as its method
    method, values = program.load_method("forward"), [torch.from_numpy(image)]
    return lambda: (method.execute(values), program)


WEB = """
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
const [library, path, side] = process.argv.slice(-3);
const ort = await import(library);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(path));
const image = new ort.Tensor("float32", new Float32Array(3 * side * side).fill(0.5), [1, 3, +side, +side]);
for await (const runs of createInterface({ input: process.stdin })) {
  const latencies_ns = [];
  for (let run = 0; run < +runs; run++) {
    const begin = performance.now();
    await session.run({ [session.inputNames[0]]: image });
    latencies_ns.push(Math.round(1e6 * (performance.now() - begin)));
  }
  console.log(JSON.stringify(latencies_ns));
}
"""


def ort_web(path: str) -> Callable[[int], list[int]]:
    """A loop in a Node of its own, which times itself."""
    from mnbench.worker.runtimes.ort_web import PACKAGE, node_program

    with tempfile.NamedTemporaryFile("w", suffix=".mjs", delete=False) as script:
        script.write(WEB)
    command = [node_program(), script.name, str(PACKAGE / "dist" / "ort.node.min.mjs"), path, str(SHAPE[-1])]
    node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert node.stdin
    assert node.stdout

    def timed(runs: int) -> list[int]:
        print(runs, file=node.stdin, flush=True)
        return json.loads(node.stdout.readline())  # type: ignore[union-attr]

    return timed


def plain_loop(run: Run, runs: int) -> list[int]:
    """The nanoseconds of each run."""
    latencies_ns: list[int] = []
    for _ in range(runs):
        begin = perf_counter_ns()
        run()
        latencies_ns.append(perf_counter_ns() - begin)
    return latencies_ns


def main(request: dict[str, Any]) -> None:
    """Open the sessions of both loops in random order, and let them take turns in blocks."""
    name, path, options = request["runtime"], request["model"], request["options"]
    module = import_module(f"mnbench.worker.runtimes.{name}")
    image = np.full(SHAPE, 0.5, np.float32)
    settings = SessionSettings({"input": image}, request["provider"], {}, 1, options)
    opened: list[tuple[str, Any]] = []
    for loop in random.sample(["plain", "mnbench"] * SESSIONS, 2 * SESSIONS):
        if loop == "mnbench":
            run = module.Session(path, settings).run
        else:
            run = ort_web(path) if name == "ort_web" else globals()[name](path, image, options)
        opened.append((loop, run))
    timing = {"clock": module.clock} if hasattr(module, "clock") else {}

    def block(loop: str, run: Any) -> Sequence[int]:
        if loop == "mnbench":
            return time_sequence([run] * request["block_runs"], **timing).latencies_ns
        if name == "ort_web":
            return run(request["block_runs"])
        return plain_loop(run, request["block_runs"])

    blocks: dict[str, list[int]] = {"plain": [], "mnbench": []}
    for number in range(request["blocks"] + 1):
        for loop, run in random.sample(opened, len(opened)):
            latencies_ns = block(loop, run)
            blocks[loop] += latencies_ns if number else []
    print(json.dumps(blocks))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
