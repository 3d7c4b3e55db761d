"""Do something with each of several models; a bad one costs nothing but itself."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from mnbench.errors import BuildError, FileError, MnbenchError
from mnbench.network.row import row_labels
from mnbench.network.variant import ModelSource

T = TypeVar("T")


class Rejection(NamedTuple):
    """A model that could not be read, built or run, by the label of its row, and why."""

    name: str
    error: MnbenchError


def attempt_each(
    sources: Sequence[ModelSource], action: Callable[[ModelSource], T], on_attempt: Callable[[], object] = lambda: None
) -> tuple[list[T], list[Rejection]]:
    """Return what the action returns for each model, and the models that it fails for.

    `on_attempt` is called after each model.

    Raises:
        BuildError, FileError: the action fails for the only model.
    """
    labels = row_labels(source.row for source in sources)
    results: list[T] = []
    rejected: list[Rejection] = []
    for source in sources:
        try:
            results.append(action(source))
        except (BuildError, FileError) as error:
            if len(sources) == 1:
                raise
            rejected.append(Rejection(labels[source.row], error))
        on_attempt()
    return results, rejected
