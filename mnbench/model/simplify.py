"""Fewer nodes that compute the same, by onnxsim."""

from typing import Any

from mnbench.errors import SimplifyError, first_line
from mnbench.model.model import Model

ONNXSIM_METADATA_PREFIX = "onnxsim."


def simplify(model: Model, *, thorough: bool = True, keep_bn: bool = False) -> Model:
    """The same function in fewer nodes: batch normalization goes into the convolution before it, unless `keep_bn`.

    Graphs of our own builder hold no constant expressions and no custom operators: without `thorough` they take half
    the time.

    Raises:
        BuildError: the model is larger than 2 GB.
        SimplifyError: onnxsim fails.
    """
    model.require_bytes()
    import onnxsim  # noqa: PLC0415  0.3 s, only here

    try:
        library: Any = onnxsim
        proto, _ = library.simplify(
            model.proto, skip_constant_folding=not thorough, import_custom_schemas=thorough, skip_fuse_bn=keep_bn
        )
    except Exception as failure:  # onnxsim raises RuntimeError, ValueError and the C++ library's own
        raise SimplifyError(
            f"{model.name}: onnxsim fails: {first_line(failure)}", hint="keep the plain graph with --no-simplify"
        ) from failure
    stored = [entry for entry in proto.metadata_props if not entry.key.startswith(ONNXSIM_METADATA_PREFIX)]
    del proto.metadata_props[:]
    proto.metadata_props.extend(stored)
    return model.with_proto(proto)
