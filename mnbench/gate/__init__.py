"""Two of anything, measured beside each other: which rows are slower, which are not, and which nobody can tell."""
