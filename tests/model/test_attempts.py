"""Several models, of which some are bad."""

from pathlib import Path

import pytest

from mnbench.errors import BuildError, FileError, ResultsError
from mnbench.model.attempts import attempt_each
from mnbench.network.variant import OnnxFile

SOURCES = [OnnxFile(path=Path(f"{name}.onnx")) for name in "abc"]


def _fail_for(name, error):
    def action(source):
        if source.name == name:
            raise error("bad", hint="mend it")
        return source.name

    return action


@pytest.mark.parametrize("error", [BuildError, FileError])
def test_bad_model_costs_nothing_but_itself(error):
    """The others are done, before and after it."""
    attempts = []
    results, rejected = attempt_each(SOURCES, _fail_for("b", error), lambda: attempts.append(1))

    assert results == ["a", "c"]
    assert [(name, failure.message) for name, failure in rejected] == [("b", "bad")]
    assert len(attempts) == 3


def test_only_model():
    """The error of the only model is raised."""
    with pytest.raises(BuildError, match="bad"):
        attempt_each(SOURCES[:1], _fail_for("a", BuildError))


def test_other_errors():
    """An error that concerns all models ends the attempt."""
    with pytest.raises(ResultsError):
        attempt_each(SOURCES, _fail_for("a", ResultsError))
