"""V1 as a plain graph and simplified."""

import pytest

from mnbench import families
from mnbench.model.simplify import simplify
from mnbench.model.to_onnx import to_onnx
from mnbench.network.network import build_network


@pytest.fixture(scope="session")
def plain():
    """The plain graph of V1."""
    return to_onnx(build_network(families.parse_variant("v1-a0.25-r64")))


@pytest.fixture(scope="session", params=[True, False], ids=["thorough", "quick"])
def simplified(request, plain):
    """The same, simplified."""
    return simplify(plain, thorough=request.param)
