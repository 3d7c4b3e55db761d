"""OpenCV's dnn module on the CPU: it reads ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2 as _cv2  # pyright: ignore[reportMissingImports]  it is in its own environment
import numpy as np

from . import Refused, SessionSettings, require_options, require_provider

cv2: Any = _cv2  # its types need it

DISTRIBUTIONS = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
MODULE = "cv2"
LIBRARY = "cv2.abi3"
PROVIDER_LIBRARIES = {"CPU": ""}
SETTING_PREFIXES = ("engine",)

ENGINES = ("AUTO", "NEW", "CLASSIC")


class Session:
    """One model on OpenCV's own kernels. Its networks own their memory: a run copies inputs in."""

    def __init__(self, model: bytes | str, settings: SessionSettings) -> None:
        require_provider("OpenCV", settings, "CPU")
        require_options("OpenCV", settings, "engine")
        engine = settings.options.get("engine", "AUTO").upper()
        if engine not in ENGINES:
            raise Refused(f"OpenCV has no engine {engine}: {', '.join(ENGINES)}")
        cv2.setNumThreads(settings.threads)
        data = Path(model).read_bytes() if isinstance(model, str) else model
        self._net = cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8), engine=getattr(cv2.dnn, f"ENGINE_{engine}"))
        self._net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        self._net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
        self._inputs = list(settings.inputs.items())
        self._names = self._net.getUnconnectedOutLayersNames()
        self._outputs: list[Any] = []

    def run(self) -> None:
        for name, array in self._inputs:
            self._net.setInput(array, name)
        self._outputs = self._net.forward(self._names)

    def outputs(self) -> list[Any]:
        return [np.array(output) for output in self._outputs]

    def placement(self) -> dict[str, list[str]]:
        """Return all layers: OpenCV's own backend has only the CPU."""
        return {"CPU": list(self._net.getLayerNames())}


def version() -> str:
    return cv2.__version__


def build() -> str:
    facts = dict(line.split(":", 1) for line in cv2.getBuildInformation().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    return f"{facts.get('Parallel framework')}, {facts.get('Dispatched code generation')}"
