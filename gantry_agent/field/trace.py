"""What is written and read back for one command, step by step: for the audit, and for a dry run that writes nothing.

A trace goes down with its command to whoever writes for it. Who writes asks `dry` first, and says what it wrote, or
would write, in words a technician can hold against a recording of the line.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Trace:
    """The steps of one command so far. With `dry` nothing may be written, stored or switched for it."""

    dry: bool = False
    steps: list[str] = field(default_factory=list)

    def note(self, step: str) -> None:
        self.steps.append(step)
