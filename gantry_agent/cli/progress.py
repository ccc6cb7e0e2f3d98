"""How far a long question is: one line on the terminal of a person, over itself; nothing where nobody looks.

It goes to standard error, so that what is found can be piped, and is wiped before anything else is printed.
"""

import time
from typing import IO

from gantry_agent.text import Language, Text

WIPE = "\r\x1b[K"
EVERY_S = 0.1  # a terminal over a slow line is not to be flooded
GUESS_AFTER = 8  # steps; from fewer nobody can tell how long the rest takes


class Progress:
    """The line of one question. `end` leaves a clean terminal, whatever became of the question."""

    def __init__(self, language: Language, stream: IO[str]) -> None:
        self._language: Language = language
        self._stream = stream if stream.isatty() else None
        self._began = self._said_at = time.monotonic()
        self._shown = False

    def show(self, done: int, of: int) -> None:
        now = time.monotonic()
        if self._stream is None or (self._shown and now - self._said_at < EVERY_S and done < of):
            return
        left = Text("", "")
        if done >= GUESS_AFTER:
            left_s = (now - self._began) / done * (of - done)
            left = Text(f"，约剩 {left_s:.0f} 秒", f", some {left_s:.0f} s left")
        said = Text(f"已问 {done}/{of}{left.zh}（Ctrl-C 停止）", f"asked {done}/{of}{left.en} (Ctrl-C stops)")
        self._stream.write(WIPE + said.render(self._language))
        self._stream.flush()
        self._said_at, self._shown = now, True

    def wipe(self) -> None:
        """Take the line away, for something else to be printed."""
        if self._stream is not None and self._shown:
            self._stream.write(WIPE)
            self._stream.flush()
            self._shown = False
