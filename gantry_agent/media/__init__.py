"""Pictures and clips of door openings: taken, kept within bounds, found again (D23).

`Capturer` is the one door: it is told of openings and never makes the teller wait; control asks it for what was taken.
A camera is asked over HTTP for a picture (`snapshot`); one that gives a stream has its last seconds kept in memory, so
that a clip begins before the opening: MJPEG over HTTP by ourselves (`mjpeg`), RTSP through the program ffmpeg (`rtsp`).
Knows no bus, no cloud and no database.
"""

from gantry_agent.media.album import Bounds
from gantry_agent.media.capturer import Capturer, Settings

__all__ = ["Bounds", "Capturer", "Settings"]
