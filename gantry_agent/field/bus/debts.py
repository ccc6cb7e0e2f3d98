"""What the units of a line still owe: answers that nobody waits for any more and that may come all the same.

A unit that gave no good answer is held for it, one response time longer than it had. For some seconds more the answer
is in doubt, since converters deliver late, and answers in RTU do not say what they answer. So until then no other
question is asked whose answer would look the same: that keeps every value under its own question, however late an
answer comes within that time, in whatever order, and whether or not the newer question is answered at all.
The same question may be asked again, at worst it gets its older answer; but not while another waits for the unit to be
clear: of two answers alike nobody can say which is still to come, so it would wait as long as the same one is repeated.
Pure: no bytes, no clock; times are monotonic and given.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gantry_agent.field.framing import speech
from gantry_agent.field.framing.found import Shape

# Beyond twice the response time. TCP makes a segment 3 s late when it has to repeat it four times (0.2 + 0.4 + 0.8 +
# 1.6 s), stephane/libmodbus#451 shows 2.5 s. Longer stalls of a converter end with three silences and its connection.
DOUBT_S = 5.0
TARDY_S = 3600.0  # how long one late answer makes the line wait for more of them: as long as a hot cabinet's afternoon
FIRST_S = 1.0  # so long the question that waited for a unit to be clear goes before the one it waited for


@dataclass(frozen=True, slots=True)
class _Hold:
    """A question whose answer is to be expected until `due`, and may well come until `until`."""

    request: speech.LineRequest
    due: float
    until: float


@dataclass(slots=True)
class _Doubt:
    """Answers of one shape that may still come; they are all to one question."""

    request: speech.LineRequest
    asked: float
    until: float
    answers: int = 0
    wanted: bool = False  # another question of this shape is waiting


class Debts:
    """The account of one line."""

    def __init__(self) -> None:
        self._holds: dict[int, _Hold] = {}  # by unit
        self._doubts: dict[Shape, _Doubt] = {}
        self._tardy: dict[int, float] = {}  # units whose answers come late, and until when to reckon with it

    @property
    def holding(self) -> bool:
        """Tell whether an answer is so fresh that it is no surprise when it comes."""
        return bool(self._holds)

    @property
    def owed(self) -> Iterator[speech.LineRequest]:
        """Give the questions whose answers may still come, each once."""
        return iter([doubt.request for doubt in self._doubts.values()])

    def asked(self, request: speech.LineRequest, now: float, due: float, response_s: float) -> None:
        """Enter a question that goes on the wire; it is owed for until its answer is `paid`."""
        until = due + response_s
        self._holds[request.unit] = _Hold(request, due, until)
        shape = speech.shape(request)
        for one, doubt in list(self._doubts.items()):
            if doubt.until + (FIRST_S if one != shape else 0.0) <= now:
                del self._doubts[one]
        doubt = self._doubts.setdefault(shape, _Doubt(request, now, until))
        doubt.answers += 1
        doubt.asked, doubt.until = now, until + DOUBT_S

    def paid(self, request: speech.LineRequest) -> None:
        """Strike one answer to a question; of several to the same, the latest is taken to be still to come."""
        if (hold := self._holds.get(request.unit)) is not None and hold.request == request:
            del self._holds[request.unit]
        shape = speech.shape(request)
        self._doubts[shape].answers -= 1
        if not self._doubts[shape].answers:
            del self._doubts[shape]

    def came_late(self, request: speech.LineRequest, now: float) -> float | None:
        """Strike an answer that nobody waited for; tell how long it took, None when it may be to an older asking."""
        if (hold := self._holds.get(request.unit)) is not None and hold.request == request:
            self._tardy[request.unit] = now + TARDY_S
        doubt = self._doubts[speech.shape(request)]
        took_s = now - doubt.asked if doubt.answers == 1 else None
        self.paid(request)
        return took_s

    def held_until(self, request: speech.LineRequest | None, now: float) -> float:
        """Tell until when the line is held for answers still owed, before a question or before any.

        Whoever asks for a question is taken to wait with it.
        """
        until = now
        for owing, hold in list(self._holds.items()):
            if hold.until <= now:
                del self._holds[owing]
                if owing in self._tardy:  # waited for in vain: three times, and it is taken for dead, not for slow
                    self._tardy[owing] -= TARDY_S / 3
            elif (request is not None and owing == request.unit) or self._tardy.get(owing, 0.0) > now:
                until = max(until, hold.until)
            else:
                until = max(until, hold.due)
        return until if request is None else max(until, self._clear_at(request, now))

    def _clear_at(self, request: speech.LineRequest, now: float) -> float:
        """Tell when nothing is owed any more that looks like an answer to `request` and is none."""
        doubt = self._doubts.get(speech.shape(request))
        if doubt is None:
            return now
        if doubt.request == request:
            return doubt.until + FIRST_S if doubt.wanted else now
        if doubt.until > now:
            doubt.wanted = True
        return doubt.until

    def repeated(self, request: speech.LineRequest) -> bool:
        """Tell whether an older asking of a question is owed for as well: the first answer may be to that one."""
        doubt = self._doubts.get(speech.shape(request))
        return doubt is not None and doubt.answers > 1

    def disputed(self, request: speech.LineRequest, now: float) -> bool:
        """Tell whether a refusal might be one of another question: refusals look alike more than answers do."""
        refusal = speech.shape(request).refusal
        return any(
            doubt.request != request and doubt.until > now
            for shape, doubt in self._doubts.items()
            if shape.refusal == refusal
        )
