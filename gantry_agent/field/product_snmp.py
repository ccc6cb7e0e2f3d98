"""What only SNMP products have: rows that are chosen by what stands in them, and objects that are set.

Rows are told by name, unit or state, because their indexes say nothing: a Delta Orion numbers its measurements by the
alphabet, an Eaton SC200 keeps 126 rows for three rectifiers. `profile_parts` reads these from a file, `plan` finds the
rows, `plan_writes` sets the objects.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gantry_agent.model import Value

OBJECT_WITHIN_S = 5.0  # a PDU switches its outlets one after the other, and looks at them now and then


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Rows whose column has one of the values; `word` also takes a text that goes on after a blank (`C:\\ Label`)."""

    column: str
    values: tuple[Value, ...]
    parameter: str = ""  # compare with this parameter instead; an empty one matches no row
    word: bool = False
    unlike: bool = False  # rows whose column has a value, and none of these
    also: "RowFilter | None" = None  # what the same row must pass as well

    @property
    def chain(self) -> "Iterator[RowFilter]":
        """This filter and those that the row must pass as well."""
        one: RowFilter | None = self
        while one is not None:
            yield one
            one = one.also

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(one.column for one in self.chain)


@dataclass(frozen=True, slots=True)
class SetsObject:
    """A point that is made by setting an object: to which value, by the value of the point that is wanted.

    In a table the object is a column. What `returns` goes back to 0 by itself, like a door that is opened for a time.
    """

    oid: str
    kind: str = "integer"  # as in `request.SetKind`
    by_value: Mapping[int, Value] = field(hash=False, default_factory=dict)  # none: the value itself
    within_s: float = OBJECT_WITHIN_S
    returns: bool = False

    def raw(self, value: int) -> Value | None:
        """What is written for a value of the point; None if nothing is."""
        return self.by_value.get(value) if self.by_value else value
