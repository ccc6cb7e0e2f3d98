"""Vertiv CHD2100J door modules behind a DCS supervisor (DCS-MIB 13400.3.7.7008.1.1): two doors, rows 3 and 8.

The first door is latch and input 0, the second 2: as a site names them, `opened` and `opened[2]`. A door that is opened
locks again after the time in column 53.
"""

from collections.abc import Mapping

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import Cell, Declined, SnmpProduct, integer, number, system, within

ENTRY = "1.3.6.1.4.1.13400.3.7.7008.1.1"
ROWS = {3: 0, 8: 2}  # of the table: the latch of the door's lock, and its input
LENGTH = 100  # the latch of how long a lock is open, above that of the lock
OPEN_S = 3
CHD2100J3 = 4


def _doors(seen: Seen) -> Mapping[str, Cell]:
    cells: dict[str, Cell] = {}
    for row, door in ROWS.items():
        opened = seen.memory.get(door, 0)
        closed = seen.inputs[door] if door < len(seen.inputs) else True
        columns = {6: int(not closed), 7: opened, 8: 0, 9: opened, 10: 0, 14: CHD2100J3, 15: 0, 16: 0, 22: 0}
        columns[53] = seen.memory.get(LENGTH + door, OPEN_S)
        cells |= {f"{ENTRY}.{column}.{row}": integer(value) for column, value in columns.items()}
    return system("DCS", "1.3.6.1.4.1.13400.3", "doors", seen.plant.t + 3600.0) | cells


def _set(seen: Seen, oid: str, cell: Cell) -> Effect:
    """RemoteOpenDoor takes 0 alone."""
    for row, door in ROWS.items():
        if oid == f"{ENTRY}.22.{row}":
            within(cell, 0)
            return Effect(memory={door: 1}, later=((seen.memory.get(LENGTH + door, OPEN_S), door, 0),))
        if oid == f"{ENTRY}.53.{row}":
            return Effect(memory={LENGTH + door: number(cell)})
    raise Declined("notWritable")


DOORS = SnmpProduct(_doors, _set)
