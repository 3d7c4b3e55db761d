"""`python -m mnbench`."""

from mnbench.cli import main

main()
