"""The section `identity` of a profile file: what is asked to find out whether a device is this product.

    identity:
      - {oid: 1.3.6.1.2.1.1.2.0, under: 1.3.6.1.4.1.2011.6.164}     # is this OID, or lies below it
      - {oid: B.1.1.4.0, has: SMU}                                  # the text holds this
      - {read: holding 0x2044, as: f32, between: [45, 65]}          # the number lies in the range
      - {read: holding 0x0801, is: [0, 1]}                          # is one of these values
      - {oid: B.4.2.3.0, there: true}                               # has any value
      - {oid: 1.3.6.1.2.1.1.2.0, is: 1.3.6.1.4.1.8072.3.2.10, weak: true}   # as many others have it

Places and encodings are those of points. Only scalars: nobody is walked to find out who it is.
"""

from dataclasses import replace
from typing import Any

from ruamel.yaml.comments import CommentedSeq

from gantry_agent.field.product import (
    Point,
)
from gantry_agent.field.product_identity import Says
from gantry_agent.field.product_places import (
    InOid,
)
from gantry_agent.field.profile_parts import PartReader
from gantry_agent.field.profile_yaml import Entries

TESTS = ("is", "under", "has", "between", "there")
FEWEST_OIDS = 2  # sysObjectID alone is the same in hundreds of products


def identity(parts: PartReader, root: Entries) -> tuple[tuple[Point, Says], ...]:
    """Read the section, if there is one."""
    signs = tuple(_sign(parts, item, number) for number, item in enumerate(root.list("identity"), 1))
    if parts.protocol == "snmp" and signs and len({point.place for point, _ in signs}) < FEWEST_OIDS:
        root.complain(
            "identity",
            zh="SNMP 产品至少要两个对象：sysObjectID 常与别的产品相同",
            en="cannot tell an SNMP product by one object: sysObjectID is the same in many; name a second",
        )
    return signs


def _sign(parts: PartReader, item: Entries, number: int) -> tuple[Point, Says]:
    place = parts.place(item, row=False)
    encoding = parts.encoding(item, place)
    says = _says(item)
    if isinstance(place, InOid) and not item.has("as") and (says.under or says.has or says.there or _texts(says)):
        encoding = replace(encoding, kind="text")
    says = replace(says, weak=item.flag("weak"))
    item.finish()
    return Point(f"sign{number}", place, encoding, "", "slow", inferred=False), says


def _texts(says: Says) -> bool:
    return any(isinstance(value, str) for value in says.values)


def _says(item: Entries) -> Says:
    given = [test for test in TESTS if item.has(test)]
    if len(given) != 1:
        item.complain(
            given[0] if given else "",
            zh=f"应恰有一个条件：{'、'.join(TESTS)}",
            en=f"give exactly one of {', '.join(TESTS)}",
        )
        for test in given:
            item.take(test)
        return Says(there=True)
    match given[0]:
        case "is":
            return Says(values=item.scalars("is"))
        case "under":
            return Says(under=tuple(map(str, item.scalars("under"))))
        case "has":
            return Says(has=tuple(map(str, item.scalars("has"))))
        case "between":
            return _between(item)
    if not item.flag("there"):
        item.complain("there", zh="只能是 true", en="can only be true")
    return Says(there=True)


def _between(item: Entries) -> Says:
    raw: Any = item.take("between")
    bounds = [one for one in raw if _number(one)] if isinstance(raw, CommentedSeq) else []
    if len(bounds) != 2 or len(raw) != 2 or bounds[0] >= bounds[1]:
        item.complain(
            "between",
            zh="应为 [最小, 最大]，如 [45, 65]",
            en="it must be [lowest, highest], like [45, 65]",
        )
        return Says(low=0, high=0)
    return Says(low=float(bounds[0]), high=float(bounds[1]))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
