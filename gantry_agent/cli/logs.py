"""Where log lines go: to stderr, in the form its reader wants.

Under systemd (JOURNAL_STREAM) a line carries its priority as `<N>` and no time, which the journal has already; on a
terminal it carries the time of day. Libraries speak only when something is wrong.
"""

import logging
import os
import sys

_PRIORITY = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        priority = f"<{_PRIORITY.get(record.levelno, 6)}>"
        return "\n".join(priority + line for line in text.splitlines())


def set_up(*, verbose: bool) -> None:
    """Send the log of this process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    under_systemd = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(
        _Journal("%(name)s: %(message)s")
        if under_systemd
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("gantry_agent").setLevel(logging.DEBUG if verbose else logging.INFO)
