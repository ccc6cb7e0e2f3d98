"""How much an SNMP agent takes in one question: a pure account of refusals and silences, without a clock or a wire.

An agent says `tooBig`, and half of it is the measure from then on. Some say nothing: the answer would not fit their
buffer, or its fragments die on the way. So after `SILENCES` silences of a large question half of it is asked; when that
is answered, the large one is tried once more, since the agent may just have been away, and after `DOUBTS` such trials
in vain the half is the measure. A measure is learnt anew after `KEPT_S`: firmware changes. Times are monotonic, given.
"""

from dataclasses import dataclass

SILENCES, DOUBTS = 2, 2
KEPT_S = 24 * 3600.0


@dataclass(slots=True)
class Appetite:
    """Of one agent, in OIDs of a GET or rows of a GETBULK."""

    most: int | None = None  # the measure, once learnt
    _learnt_at: float = 0.0
    _suspect: int | None = None  # the smallest size that fell silent
    _silences: int = 0
    _trial: int | None = None  # half of it, asked for now
    _alive: bool = False  # a trial was answered: the large question gets another chance
    _doubts: int = 0

    def helping(self, wanted: int, now: float) -> int:
        """Tell how much of what is wanted to ask for at once; at least 1."""
        if self.most is not None and now - self._learnt_at >= KEPT_S:
            self.most = None
        limits = [limit for limit in (self.most, self._trial) if limit is not None]
        if self._alive and self._suspect is not None and wanted >= self._suspect:
            limits = [self._suspect]
        return max(1, min([wanted, *limits]))

    def too_big(self, size: int, now: float) -> None:
        """The agent has said so."""
        self._learn(size // 2, now)

    def silent(self, size: int, now: float) -> bool:
        """Nothing usable came back; tell whether the agent is known to live, so that half may be asked at once."""
        if size == 1:
            return False
        self._suspect = min(size, self._suspect or size)
        if self._alive:
            self._alive = False
            self._doubts += 1
            if self._doubts >= DOUBTS:
                self._learn(self._trial or size // 2, now)
            return True
        self._silences += 1
        if self._silences >= SILENCES:
            self._trial = max(1, self._suspect // 2)
        return False

    def answered(self, size: int) -> None:
        if self._suspect is not None and size >= self._suspect:
            self._clear()
        elif self._trial is not None and size <= self._trial:
            self._alive = True

    def _learn(self, most: int, now: float) -> None:
        self.most, self._learnt_at = max(1, most), now
        self._clear()

    def _clear(self) -> None:
        self._suspect = self._trial = None
        self._silences = self._doubts = 0
        self._alive = False
