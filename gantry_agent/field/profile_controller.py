"""The parts of a profile file that only products have whose answer is kept whole: door controllers, locks, and the
surge monitors that speak in their makers' own ways (`protocol: zpta`, `huazi`).

A point stands in the device's status, `read: status 28` (the byte as the vendor's table counts; `as: u8`, `u16` or
`u32`, low byte first). A UHPPOTE controller (`protocol: uhppote`) notes who came: `read: card 1` is the card that door
1 let in last, `read: swipe 1` the number of that event; `write: open 1` opens door 1 for the time that is set in the
controller, which ends it by itself. A Shengjiu lock (`protocol: shengjiu`) is told by signals: `write: {1: 0x0005, 0:
0x0006}`.
"""

import re

from ruamel.yaml.comments import CommentedMap

from gantry_agent.field.framing.uhppote import SIZE
from gantry_agent.field.product_places import (
    InStatus,
    InSwipe,
    OpensDoor,
    Signals,
)
from gantry_agent.field.profile_yaml import Entries

KINDS = ("u8", "u16", "u32")
SERIAL = "serial"  # the parameter that tells one controller from another
SOURCE = "source"  # the parameter that is our own address, as a lock knows it; 0: the lock's
_STATUS = re.compile(r"status (\d{1,2})")
_SWIPE = re.compile(r"(card|swipe) ([1-4])")
_OPEN = re.compile(r"open ([1-4])")


def place(entries: Entries, *, swipes: bool) -> InStatus | InSwipe:
    """`read: status 28`, `read: card 1`, `read: swipe 1`."""
    text = entries.text("read")
    if (found := _STATUS.fullmatch(text)) and int(found[1]) < SIZE:
        return InStatus(int(found[1]))
    if swipes and (found := _SWIPE.fullmatch(text)):
        return InSwipe(int(found[2]), "card" if found[1] == "card" else "event")
    zh = "、“card 门号”或“swipe 门号”" if swipes else ""
    en = ", 'card DOOR' or 'swipe DOOR'" if swipes else ""
    entries.complain(
        "read",
        zh=f"无法解读；应为“status 字节号”{zh}，如 status 28；字节号至 {SIZE - 1}",
        en=f"cannot be read: write 'status BYTE'{en}, like status 28; the last byte is {SIZE - 1}",
    )
    return InStatus(0)


def opening(entries: Entries) -> OpensDoor:
    """`write: open 1`."""
    if found := _OPEN.fullmatch(entries.text("write")):
        return OpensDoor(int(found[1]))
    entries.complain(
        "write",
        zh="无法解读；应为“open 门号”，如 open 1",
        en="cannot be read: write 'open DOOR', like open 1",
    )
    return OpensDoor(1)


def signals(entries: Entries) -> Signals:
    """`write: {1: 0x0005, 0: 0x0006}`."""
    raw = entries.take("write")
    given = dict(raw) if isinstance(raw, CommentedMap) else {}
    good = {int(k): int(v) for k, v in given.items() if isinstance(k, int) and isinstance(v, int) and 0 <= v <= 0xFFFF}
    if not good or len(good) < len(given):
        entries.complain(
            "write",
            zh="应为 {值: 信号}，如 {1: 0x0005, 0: 0x0006}",
            en="it must be {value: signal}, like {1: 0x0005, 0: 0x0006}",
        )
    return Signals(good)
