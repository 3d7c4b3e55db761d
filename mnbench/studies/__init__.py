"""The papers' own experiments, made again: what they claim, tested on a device."""
