"""Requests of trials, as the host sends them to a worker."""

SESSION = {
    "runtime": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "options": {},
    "provider_options": {},
    "gpu": False,
    "cores": [],
    "inputs": {},
    "model": b"model",
}
PROTOCOL = {
    "slices": 1,
    "slice_ns": 1,
    "min_turns": 3,
    "warmup_ns": 1,
    "min_settle_ns": 1,
    "max_settle_ns": 10**9,
}


def trial_request(*sessions, sides=1, **protocol):
    """Return the request of a trial; without sessions, of one."""
    return {
        "kind": "trial",
        "seed": "0",
        "limits": None,
        "warmup_runs": 0,
        "sides": sides,
        "sessions": list(sessions or [SESSION]),
        "protocol": PROTOCOL | protocol,
    }
