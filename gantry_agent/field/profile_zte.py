"""The parts of a profile file that only objects of a ZTE site supervision unit have (`protocol: zte`).

A point is told by its number: `read: point 118201001`; where units of other firmware have it under another number,
`read: point 106304001 or 106030001` takes the first that the object has. Values come as texts: `as: decimal` (default)
is a number and nothing else, `as: text` the text itself. `read: alarm` is 1 while the unit lists an active alarm of the
object. `objects` are the names under which the unit lists what the product is; `gantry-agent identify` goes by them.
"""

import re
from typing import Final

from gantry_agent.field.product_places import InAlarms, InObject
from gantry_agent.field.profile_yaml import Entries

KINDS: Final = ("decimal", "text")
_POINT = re.compile(r"point (\d{9})((?: or \d{9})*)")


def place(entries: Entries) -> InObject | InAlarms:
    """`read: point 118201001`, `read: point 106304001 or 106030001`, `read: alarm`."""
    text = entries.text("read")
    if text == "alarm":
        return InAlarms()
    if found := _POINT.fullmatch(text):
        return InObject((found[1], *re.findall(r"\d+", found[2])))
    entries.complain(
        "read",
        zh="无法解读；应为“point 编号”“point 编号 or 编号”或“alarm”，编号为 9 位数字，如 point 118201001",
        en="cannot be read: write 'point NUMBER', 'point NUMBER or NUMBER' or 'alarm', a number with nine digits,"
        " like point 118201001",
    )
    return InAlarms()
