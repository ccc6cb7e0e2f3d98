"""What goes wrong between a camera and its picture on the disk, and how it is told: once, and once at its end.

A message never holds a URL: its query may carry a password, as some cameras want it.
"""

import logging
import time
from dataclasses import dataclass

from gantry_agent.model import AgentError, Camera
from gantry_agent.text import Text

log = logging.getLogger(__name__)


class CameraFault(AgentError):
    """A camera gave no picture, or no stream."""


class LoginRefused(CameraFault):
    """A camera does not accept the login. Cameras lock out who tries again and again (Hikvision: for 30 min)."""


class KeepFault(AgentError):
    """A capture cannot be written or read; the message names the file."""


@dataclass(slots=True)
class Trouble:
    """One thing that works or does not; `what` is its name in the log."""

    what: str
    since: float | None = None  # monotonic
    why: Text | None = None  # of what is wrong now
    at: float | None = None  # when it was last seen to work or not; Unix seconds

    def begins(self, why: object) -> None:
        """Say what is wrong, unless it was wrong before."""
        self.why = why.text if isinstance(why, AgentError) else Text(str(why), str(why))
        self.at = time.time()
        level = logging.WARNING if self.since is None else logging.DEBUG
        log.log(level, "%s: %s", self.what, why)
        if self.since is None:
            self.since = time.monotonic()

    def ends(self) -> None:
        self.at, self.why = time.time(), None
        if self.since is not None:
            log.info("%s: works again after %.0f s", self.what, time.monotonic() - self.since)
            self.since = None


def named(camera: Camera) -> str:
    """A camera's name for people: where it is, never its URL."""
    return f"camera of cabinet {camera.cabinet}, {camera.side} door"
