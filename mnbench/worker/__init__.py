"""What runs on the device: the standard library, numpy, one runtime and Python 3.9 or newer. Imports nothing of mnbench."""
