"""One file a request: what the worker does, on the device."""
