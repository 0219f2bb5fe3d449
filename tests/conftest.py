"""What every test starts from."""

import signal

from hypothesis import settings

# A shell starts its background jobs with SIGINT ignored, and Python then installs no handler: tests of Ctrl-C, and the
# processes that they start, need the usual one.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Properties are about results, not about the time a shared machine takes.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
