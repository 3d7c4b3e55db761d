"""The worker's main function: the module named by the request's kind handles it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .runtimes import Unavailable, describe_failure


def serve(channel: Any) -> None:
    """Answer one request from an execnet channel; its `kind` names the module.

    The answer is the result, or `error` with the name of the missing thing in `unavailable`. Messages with
    `expected_s`, the expected remaining time, may come before.
    """
    request = channel.receive()
    try:
        channel.send(import_module(f"{__package__}.requests.{request['kind']}").handle(request, channel))
    except ImportError as failure:
        channel.send({"error": f"{failure.name} cannot be imported: {failure}", "unavailable": "runtime"})
    except Unavailable as failure:
        channel.send({"error": str(failure), "unavailable": failure.missing})
    except BaseException as failure:  # noqa: BLE001  whatever a runtime raises is this case's result
        channel.send({"error": describe_failure(failure), "unavailable": None})
