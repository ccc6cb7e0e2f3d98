"""The Megatec family (Q1 and its dialects) in bytes: a command and CR out, a marked line of text and CR back.

Source: networkupstools/nut `drivers/nutdrv_qx_megatec.c`, `drivers/blazer_ser.c`, `docs`. There is no address, no
length and no checksum: an answer is told by its mark, its printable characters and its width. A flipped bit in a digit
cannot be seen by anybody; a lost, added or foreign character can. Some units send a command back that they do not know,
which on a line without echoes says "no". What the characters mean is the profile's matter.
"""

import re

from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import AskText
from gantry_agent.model import BadReply, DeviceRefused

KEPT_BYTES = 1024
UNKNOWN = 1  # DeviceRefused.code: the unit does not know the command
USUAL = 64  # characters of an answer of which nothing is known beforehand
_WIDTHS = {  # without CR; their formats are fixed. From QGS on Voltronic's dialect (nutdrv_qx_voltronic.c)
    "Q1": 46,
    "QS": 46,
    "QI": 48,
    "F": 21,
    "M": 1,
    "QGS": 75,
    "QMOD": 2,
    "QBV": 20,
    "QWS": 65,
}
_WIDER = 2  # some units write the battery voltage, or all of it, with a digit more; newer ones QBV's run time
_RATINGS = frozenset({"F", "I", "MD"})  # answered with '#', everything else with '('
_LETTERS = frozenset({"M"})  # but these with a capital letter alone (nutdrv_qx_voltronic-qs.c)
_SHORTEST = 2
_REFUSALS = frozenset({b"NAK", b"(NAK", b"N/A"})
_CONSENTS = frozenset({b"ACK", b"(ACK"})
_COMMAND = re.compile(r"[ -~]{1,32}")
_LINE = re.compile(rb"([ -~]+)\r")
_LETTER = re.compile(rb"[A-Z]")


def frame(request: AskText) -> bytes:
    """Write the bytes that ask `request`; a command that is none is a ValueError, since it is our fault."""
    if not _COMMAND.fullmatch(request.command):
        raise ValueError(f"cannot ask {request.command!r}: 1 to 32 printable characters are wanted")
    return request.command.encode("ascii") + b"\r"


def shape(request: AskText) -> Shape:
    """Tell what answers to this request look like; nothing in them says whose they are."""
    return Shape(("megatec",), mark(request) if request.answered else request.command)


def mark(request: AskText) -> bytes:
    """Tell the character that the answer begins with; none where the answer is a letter."""
    if request.command in _LETTERS:
        return b""
    return b"#" if request.command in _RATINGS else b"("


def answer_length(request: AskText) -> int:
    """Tell about how many characters the answer has; nothing says so beforehand."""
    return _WIDTHS.get(request.command, USUAL) + 1 if request.answered else 0


def to_come(request: AskText, received: bytes) -> int:
    """Tell how many characters must still come at the least before there can be an answer."""
    return max(0, _WIDTHS.get(request.command, _SHORTEST) + 1 - len(received))


def find(request: AskText, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole answer to `request` in what came so far; None as long as there is none."""
    del echoes  # an echo has no mark, so that it is never taken for an answer
    start, echoed = 0, False
    sent = frame(request)
    if (at := received.find(sent)) >= 0 and not received[:at].strip(b"\r"):
        start, echoed = at + len(sent), True
    for line in _LINE.finditer(received, start):
        text = line[1]
        if text in _REFUSALS or (not request.answered and text in _CONSENTS):
            return Found(text, line.start(), line.end(), echoed)
        begins = text.rfind(mark(request))  # what stands before the mark is noise
        if request.command in _LETTERS:
            begins = 0 if _LETTER.fullmatch(text) else -1
        if begins >= 0 and request.answered and _width_fits(request, text[begins:]):
            return Found(text[begins:], line.start() + begins, line.end(), echoed)
    return None


def _width_fits(request: AskText, text: bytes) -> bool:
    width = _WIDTHS.get(request.command)
    return width <= len(text) <= width + _WIDER if width else len(text) >= _SHORTEST


def decode(request: AskText, body: bytes) -> str | tuple[int, ...]:
    """Read an answer; raises DeviceRefused for one that says no."""
    if body in _REFUSALS:
        raise DeviceRefused(f"cannot get an answer: unit {request.unit} refused {request.command}", UNKNOWN)
    if not request.answered:
        return ()
    if not body.startswith(mark(request)) or not body.isascii():
        raise BadReply(f"cannot use the answer: {body[:8]!r} is none to {request.command}")
    return body.decode("ascii")


def silence(request: AskText, received: bytes) -> tuple[int, ...] | None:
    """Say what it means that no answer came: () for a command that is obeyed in silence, None for nothing known.

    Raises DeviceRefused when the unit only sent the command back.
    """
    if received == frame(request):
        raise DeviceRefused(f"cannot get an answer: unit {request.unit} does not know {request.command}", UNKNOWN)
    return () if not request.answered and not received else None


def explain(request: AskText, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    if b"\r" not in received:
        return f"{len(received)} characters without an end"
    width = _WIDTHS.get(request.command)
    lines = [line[1] for line in _LINE.finditer(received)]
    if width and lines and lines[-1].startswith(mark(request)):
        return f"{len(lines[-1])} characters instead of {width}"
    return f"{len(received)} characters that are no answer to {request.command}"
