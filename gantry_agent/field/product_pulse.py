"""Pulses that a device times by itself, so that they end even if this program does not live to see it.

Three kinds are known: the write says for how long (a relay board's flash, a module's timed output); a write begins what
lasts as long as another object says, which is set first (a power strip's cycle); or that object is the technician's,
and is only compared with what the site asks.
"""

from dataclasses import dataclass

from gantry_agent.field.product_places import InRegister


@dataclass(frozen=True, slots=True)
class SetsPulse:
    """An object whose setting begins a pulse: to `value`, or to the number of steps where that is None."""

    oid: str
    kind: str = "integer"
    value: int | None = None


@dataclass(frozen=True, slots=True)
class PulseWidth:
    """The object that says how many steps a pulse lasts."""

    oid: str
    kind: str = "integer"
    choices: tuple[int, ...] = ()  # the only numbers of steps that it takes
    settable: bool = False  # before each pulse that is to last otherwise; else it is only read


@dataclass(frozen=True, slots=True)
class Pulse:
    """How an output is held on, or off, for a number of steps of `step_ms`."""

    on: InRegister | SetsPulse | None
    off: InRegister | SetsPulse | None
    step_ms: int
    most: int  # steps
    width: PulseWidth | None = None

    def place(self, value: int) -> InRegister | SetsPulse | None:
        """Where the pulse that holds the output at 1, or at 0, is begun; None if the device has no such."""
        return self.on if value else self.off

    def steps(self, seconds: float) -> int | None:
        """The number of steps; None where the device cannot count so far, or not exactly where it has its own times."""
        steps = max(1, round(seconds * 1000 / self.step_ms))
        if self.width is not None and self.width.choices and steps not in self.width.choices:
            return None
        return steps if steps <= self.most else None

    def times(self) -> str:
        """The lengths that are possible, in seconds."""
        choices = self.width.choices if self.width else ()
        if choices:
            return ", ".join(f"{one * self.step_ms / 1000:g}" for one in choices)
        return f"{self.step_ms / 1000:g}~{self.most * self.step_ms / 1000:g}"
