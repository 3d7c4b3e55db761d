"""`python -m mnbench`, and the program `mnbench`."""

import gc
import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while Click is imported ends the program without a traceback; a command then sets its own handler.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mnbench.cli import main

# Records and rows are no garbage, and the search through 100,000 of them takes a fifth of a command's time. Only the
# program sets this: nothing changes for who imports mnbench.
gc.set_threshold(5_000_000)

if __name__ == "__main__":
    main()
