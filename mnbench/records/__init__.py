"""What was measured, kept as text: one line a cell, and the raw nanoseconds beside it."""
