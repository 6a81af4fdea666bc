"""Ctrl-C is tested also where it is ignored from the start: in a script's `make test &`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
