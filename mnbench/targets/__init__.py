"""Where a device's worker runs, and how it is reached."""
