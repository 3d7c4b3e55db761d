"""What runs on the device: the standard library, numpy, one runtime, on Python 3.9 or newer; nothing of mnbench."""
