"""What every framing gives for an answer that it has found among the bytes of a line, and says of one to come."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Found:
    """A sound answer: what it carries, where it stands, and whether the request's echo stood before it."""

    pdu: bytes
    start: int
    end: int
    echoed: bool


class Shape(NamedTuple):
    """What the answers to a request look like: those of one shape cannot be told apart, nor refusals by `refusal`."""

    refusal: tuple[object, ...]
    answer: object = None
