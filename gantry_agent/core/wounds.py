"""Wiring hints from broken answers: where they break says what breaks them. The rules' order is in `wiring`. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gantry_agent.core.stethoscope import BROKEN, HUSHED, Ending, Finding, Listened, Look, listed, shares
from gantry_agent.text import Text

MOST = 0.6  # of the broken answers, for one cause to be the cause
HEAD_BYTES = 3  # unit, function, count
DEVIATIONS = 2.5
PARTS = 3  # of an answer behind its head


# --- broken answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wounds:
    """The broken answers of some units, sorted by where they broke."""

    total: int
    kinds: Counter[Ending]
    head: int
    parts: tuple[int, ...]  # thirds of the answer behind its head
    by_chance: float  # so many of `head` would be there, were all bytes hit alike
    variance: float

    def share(self, count: int) -> float:
        return count / self.total if self.total else 0.0

    @property
    def at_head(self) -> bool:
        """Tell whether the head is hit more than chance has it; of a short answer it is nearly half."""
        return self.share(self.head) >= MOST and self.head - self.by_chance >= DEVIATIONS * self.variance**0.5


def _wounds(units: Sequence[Listened]) -> _Wounds:
    troubles = [t for unit in units for t in unit.figures.troubles if t.ending in BROKEN]
    kinds = Counter(t.ending for t in troubles)
    head, parts, chances = 0, [0] * PARTS, []
    for trouble in troubles:
        if trouble.ending is Ending.CRC and trouble.length:
            chances.append(HEAD_BYTES / trouble.length)
        if trouble.ending is Ending.HEAD or (trouble.at is not None and trouble.at < HEAD_BYTES):
            head += 1
        elif trouble.at is not None and trouble.length > HEAD_BYTES:
            part = (trouble.at - HEAD_BYTES) * PARTS // (trouble.length - HEAD_BYTES)
            parts[min(part, PARTS - 1)] += 1
    variance = sum(chance * (1 - chance) for chance in chances)
    return _Wounds(len(troubles), kinds, head, tuple(parts), sum(chances), variance)


def baud(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    """Bytes come, and never an answer in them."""
    if not look.line:
        return
    babbling = tuple(
        unit for unit in units if unit.dead and _mostly(unit, frozenset({Ending.GARBLED})) and not unit.silent
    )
    if not babbling:
        return
    garbled = shares(babbling, frozenset({Ending.GARBLED}))
    if any(unit.works for unit in look.asked):
        names = listed(babbling)
        yield (
            Text(
                f"{names.zh} 的应答全是乱码（{garbled}），其余设备正常：该设备的波特率或校验与线路不同",
                f"{names.en}: nothing but rubbish comes back ({garbled}), the others are fine: its baud rate or parity"
                " is not that of the line",
            ),
            babbling,
        )
    else:
        yield (
            Text(
                f"{look.place} 上收到的全是乱码（{garbled}）：线路的波特率、校验或停止位与设备不符",
                f"nothing but rubbish comes in on {look.place} ({garbled}): baud rate, parity or stop bits are not"
                " those of the units",
            ),
            babbling,
        )


def _mostly(unit: Listened, endings: frozenset[Ending]) -> bool:
    failed = unit.count(BROKEN | HUSHED)
    return failed > 0 and unit.count(endings) >= MOST * failed


def head(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    found = tuple(u for u in units if u.suffers(BROKEN) and _wounds([u]).at_head)
    if look.line and found:
        wounds, names = _wounds(found), listed(found)
        yield (
            Text(
                f"{names.zh} 的应答坏在开头（{wounds.total} 个坏应答中 {wounds.head} 个）：本端收发方向切换太慢，"
                "或线路缺偏置电阻",
                f"{names.en}: answers break at their head ({wounds.head} of {wounds.total} broken ones): our side"
                " switches from sending to receiving too slowly, or the line has no bias resistors",
            ),
            found,
        )


def tail(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    tail = frozenset({Ending.TAIL})
    found = tuple(u for u in units if u.suffers(BROKEN) and (w := _wounds([u])).share(w.kinds[Ending.TAIL]) >= MOST)
    if look.line and found:
        names = listed(found)
        yield (
            Text(
                f"{names.zh} 的应答缺尾部（{shares(found, tail)}）：设备或转换器的发送方向关得太早",
                f"{names.en}: the end of answers is missing ({shares(found, tail)}): unit or converter switches its"
                " transmitter off too early",
            ),
            found,
        )


_TWO = frozenset({Ending.LONG, Ending.TWOFOLD})


def collision(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    """Two units at one address: only there, with more bytes than one answer has."""
    troubled = tuple(unit for unit in units if unit.suffers(BROKEN))
    found = tuple(unit for unit in troubled if unit.suffers(_TWO) and unit.count(_TWO) >= 0.3 * unit.count(BROKEN))
    if look.line and len(found) == 1 and (len(troubled) == 1 or len(look.asked) > 2 * len(troubled)):
        (unit,) = found
        yield (
            Text(
                f"{unit.label.zh} 的应答互相重叠（{shares(found, _TWO)} 个应答过长或成双），其他地址正常："
                "有两个设备用了同一地址",
                f"{unit.label.en}: answers overlap ({shares(found, _TWO)} too long or double), other addresses are"
                " fine: two units have the same address",
            ),
            found,
        )


def foreign(_look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    wrong = frozenset({Ending.FOREIGN})
    found = tuple(unit for unit in units if unit.suffers(wrong))
    if found:
        names = listed(found)
        yield (
            Text(
                f"询问 {names.zh} 时收到别的地址或功能码的完整应答（{shares(found, wrong)}）："
                "设备地址重复，或网关改写、串话",
                f"asked for {names.en}, sound answers of another unit or function came ({shares(found, wrong)}):"
                " an address used twice, or a gateway that rewrites or mixes up answers",
            ),
            found,
        )


def noise(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    found = tuple(u for u in units if u.suffers(BROKEN) and not _mostly(u, frozenset({Ending.BAD})))
    if not found or not look.line:
        return
    wounds, names = _wounds(found), listed(found)
    thirds = "/".join(str(n) for n in (wounds.head, *wounds.parts))
    if len(found) == 1 and len(look.asked) > 1:
        where = Text("该设备的接线或支线过长", "the connection of this unit, or its stub is too long")
    else:
        where = Text(
            "缺终端电阻、屏蔽或接地不良、与动力线同槽，或校验设置不符",
            "no termination, bad shield or earth, a power cable in the same duct, or a parity that does not match",
        )
    yield (
        Text(
            f"{names.zh} 的坏应答分布均匀（共 {wounds.total} 个，头/前/中/后 = {thirds}）：线路有干扰：{where.zh}",
            f"{names.en}: answers break anywhere ({wounds.total}; head/first/middle/last = {thirds}): noise on the"
            f" line: {where.en}",
        ),
        found,
    )


def bad(_look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    found = tuple(unit for unit in units if unit.suffers(BROKEN))
    if found:
        names = listed(found)
        yield (
            Text(
                f"{names.zh} 的应答不合协议（{shares(found, BROKEN)}）：地址或型号不对、干扰，或网关设置不对",
                f"{names.en}: answers do not fit the protocol ({shares(found, BROKEN)}): wrong address or product,"
                " noise, or a gateway that is set up wrongly",
            ),
            found,
        )


def flaky(_look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    found = tuple(unit for unit in units if unit.suffers(HUSHED) and not unit.silent)
    if found:
        names = listed(found)
        yield (
            Text(
                f"{names.zh} 时有时无（{shares(found, HUSHED)} 无应答）：接触不良、供电不稳，或设备忙",
                f"{names.en}: answers come and go ({shares(found, HUSHED)} without one): a loose contact, an unsteady"
                " supply, or a busy unit",
            ),
            found,
        )


# --- worth knowing --------------------------------------------------------------------------------------------------


def echo(look: Look, _units: tuple[Listened, ...]) -> Iterator[Finding]:
    echoing = frozenset({Ending.ECHOED, Ending.ECHO_ONLY})
    found = tuple(unit for unit in look.asked if unit.suffers(echoing))
    if look.line and found:
        count = sum(unit.count(echoing) for unit in found)
        yield (
            Text(
                f"转换器把自己发出的也收回来（{count} 次回声）：能用，但请关闭转换器的本地回声（接收始终使能）",
                f"the adapter hears itself ({count} echoes): it works, but switch its local echo off (receiver always"
                " enabled)",
            ),
            (),
        )


def glitches(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    noisy = frozenset({Ending.NOISY})
    found = tuple(unit for unit in units if unit.suffers(noisy))
    if look.line and found:
        names = listed(found)
        yield (
            Text(
                f"{names.zh} 的应答前有杂乱字节（{shares(found, noisy)}）：能用；方向切换时有毛刺，"
                "线路偏置电阻可以消除",
                f"{names.en}: stray bytes before good answers ({shares(found, noisy)}): it works; a glitch when the"
                " direction turns, bias resistors take it away",
            ),
            (),
        )
