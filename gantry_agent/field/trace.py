"""What is written and read back for one command, step by step: for the audit, and for a dry run that writes nothing.

A trace goes down with its command to whoever writes for it. Who writes asks `dry` first, and says what it wrote, or
would write, as the bytes on the wire where there are such: a technician can hold them against a recording of the line.
"""

from dataclasses import dataclass, field

from gantry_agent.field.framing import modbus, speech, uhppote
from gantry_agent.field.request import AskController, Request, SetOid
from gantry_agent.text import Text


@dataclass(slots=True)
class Trace:
    """The steps of one command so far. With `dry` nothing may be written, stored or switched for it."""

    dry: bool = False
    steps: list[Text] = field(default_factory=list)
    devices: set[str] = field(default_factory=set)  # that were asked or written for it

    def note(self, zh: str, en: str) -> None:
        self.steps.append(Text(zh, en))

    def add(self, step: Text) -> None:
        self.steps.append(step)


def on_the_wire(request: Request, bus: str) -> str:
    """A request as it goes out on a bus of that kind: hex of the frame; SNMP in the words of its tools.

    Over Modbus TCP the transaction number, which differs each time, is shown as 0.
    """
    if isinstance(request, SetOid):
        return f"SET {request.oid} = {request.kind} {request.value!r}"
    if bus == "modbus-tcp" and isinstance(request, modbus.ModbusRequest):
        return modbus.mbap_frame(0, request.unit, modbus.encode(request)).hex(" ").upper()
    if isinstance(request, speech.LineRequest):
        return speech.frame(request).hex(" ").upper()
    if isinstance(request, AskController):
        return uhppote.frame(request).rstrip(b"\0").hex(" ").upper() + " 00…"
    return str(request)
