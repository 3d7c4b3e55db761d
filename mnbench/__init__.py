"""Measured latency beside Mult-Adds and memory access cost, for MobileNets and ShuffleNets."""

__version__ = "0.1.0"
