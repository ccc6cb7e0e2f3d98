"""What every framing gives for an answer that it has found among the bytes of a line."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """A sound answer: what it carries, where it stands, and whether the request's echo stood before it."""

    pdu: bytes
    start: int
    end: int
    echoed: bool
