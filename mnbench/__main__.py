"""`python -m mnbench`, and the program `mnbench`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while Click is imported ends the program without a traceback; a command then sets its own handler.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mnbench.cli import main

if __name__ == "__main__":
    main()
