"""What every test starts from."""

import signal

# A shell starts its background jobs with SIGINT ignored, and Python then installs no handler: tests of Ctrl-C, and the
# processes that they start, need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)
