"""One file a runtime, each with a class `Session` and a function `version`."""
