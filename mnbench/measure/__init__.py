"""What runs, in which order, and the workers that run it."""
