"""Wiring hints: rules from what was heard on a bus to what a technician should look at, with the evidence in figures.

A rule looks at one bus and says what it suspects; the first rule that explains a unit's trouble is the one that is
told, so their order in `RULES` is part of what they say: what is nearer to us (port, line) goes before what is farther
away (unit), the specific before the general. Each rule is validated by injecting its fault on a simulated line
(tests/system/test_scope_hints.py). Pure.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from gantry_agent.core import wounds
from gantry_agent.core.stethoscope import (
    BROKEN,
    DEAD,
    HUSHED,
    SEVERAL,
    WORKING,
    Ending,
    Finding,
    Hint,
    Listened,
    Look,
    Stray,
    listed,
    percentile,
    shares,
)
from gantry_agent.text import Text

Rule = Callable[[Look, tuple[Listened, ...]], Iterator[Finding]]


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


# --- the way to the bus ---------------------------------------------------------------------------------------------

_DOWN: Mapping[str, Text] = MappingProxyType(
    {
        "missing": Text(
            "{place} 不存在：串口转换器被拔出或换了编号；配置中请用 /dev/serial/by-path/ 下的路径",
            "{place} does not exist: the adapter is unplugged or has another number now; in the site file use a path"
            " under /dev/serial/by-path/",
        ),
        "forbidden": Text(
            "没有打开 {place} 的权限：把运行用户加入 dialout 组",
            "no right to open {place}: the user must be in the group dialout",
        ),
        "busy": Text(
            "{place} 正被另一个程序使用：先停止它（fuser {place}）",
            "{place} is held by another program: stop that first (fuser {place})",
        ),
        "refused": Text(
            "{place} 的主机在线但拒绝连接：端口号不对、服务未启用，或只允许一个连接且已被占用",
            "the host of {place} is there and refuses the connection: wrong port, service off, or it takes one"
            " connection only and somebody has it",
        ),
        "unreachable": Text(
            "{place} 无法到达：检查网线、电源、IP 地址和网段",
            "{place} cannot be reached: look at the network cable, its power, the IP address and the subnet",
        ),
        "unknown name": Text(
            "{place} 的主机名无法解析：检查名称和 DNS，或改用 IP 地址",
            "the host name of {place} is not known: look at the name and at DNS, or use the IP address",
        ),
        "other": Text("{place} 打不开", "{place} cannot be opened"),
    }
)


def _down(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    if (down := look.figures.down) is not None:
        said = _DOWN[down.kind]
        zh, en = said.zh.format(place=look.place), said.en.format(place=look.place)
        more = f"（{down.why}）" if down.kind == "other" else ""  # the others' Chinese says it; the reason is English
        yield Text(f"{zh}{more}", f"{en} ({down.why})"), units


def _losses(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    if look.figures.losses >= SEVERAL:
        n = look.figures.losses
        what = Text("串口", "port") if look.kind == "serial" else Text("连接", "connection")
        yield (
            Text(
                f"{look.place} 的{what.zh}近来断开 {n} 次：转换器供电或接触不良，或另有客户端抢占",
                f"the {what.en} {look.place} was lost {n} times lately: the converter's supply or plug, or another"
                " client that takes it over",
            ),
            units,
        )


# --- who else speaks ------------------------------------------------------------------------------------------------


def _second_master(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    questions = look.figures.strays.get(Stray.QUESTION, 0)
    if look.line and questions >= SEVERAL:
        answers = look.figures.strays.get(Stray.ANSWER, 0)
        troubled = tuple(unit for unit in units if unit.suffers(BROKEN | HUSHED | {Ending.NOISY}))
        yield (
            Text(
                f"线上有第二个主站：近来听到 {questions} 个不是本机发出的询问（应答 {answers} 个）；"
                "一条 RS-485 只能有一个主站",
                f"there is a second master on the line: {questions} questions were heard lately that are not ours"
                f" (answers: {answers}); an RS-485 line can have one master only",
            ),
            troubled,
        )


def _babble(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    babble, noise = look.figures.strays.get(Stray.BABBLE, 0), look.figures.strays.get(Stray.NOISE, 0)
    if look.line and babble >= SEVERAL:
        yield (
            Text(
                f"线上一直不安静（{babble} 次等不到静默，杂乱数据 {noise} 段）：某个设备的发送器卡住，"
                "或线路空闲时没有偏置电阻",
                f"the line does not fall silent ({babble} questions could not be asked, {noise} pieces of noise):"
                " a transmitter is stuck on, or nothing biases the idle line",
            ),
            tuple(unit for unit in units if not unit.works),
        )


# --- nobody answers -------------------------------------------------------------------------------------------------


def _late(_look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    for unit in units:
        late_s = unit.figures.late_s
        if len(late_s) >= SEVERAL and unit.suffers(HUSHED | BROKEN):
            usual_s, longest_s = percentile(late_s, 50) or 0.0, max(late_s)
            wait_ms, ask_ms = _milliseconds(unit.response_s), _milliseconds(1.5 * longest_s)
            yield (
                Text(
                    f"{unit.label.zh} 的应答来得太晚：等待 {wait_ms} ms，应答在 {_milliseconds(usual_s)} ms"
                    f"（最长 {_milliseconds(longest_s)} ms）才到，近来 {len(late_s)} 次；"
                    f"把型号文件中的 response_ms 提高到 {ask_ms}",
                    f"{unit.label.en} answers too late: {wait_ms} ms are waited, its answers take"
                    f" {_milliseconds(usual_s)} ms (up to {_milliseconds(longest_s)} ms), {len(late_s)} times lately;"
                    f" raise response_ms of its profile to {ask_ms}",
                ),
                (unit,),
            )


def _gateway(_look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    found = tuple(unit for unit in units if unit.suffers(frozenset({Ending.GATEWAY})))
    if found:
        names = listed(found)
        yield (
            Text(
                f"网关在线，但它报告后面的设备无应答：{names.zh}（{shares(found, frozenset({Ending.GATEWAY}))}）；"
                "检查网关串口侧的 A/B、波特率和设备地址",
                f"the gateway is there and says that the unit behind it is silent: {names.en}"
                f" ({shares(found, frozenset({Ending.GATEWAY}))}); look at A/B, baud rate and address behind it",
            ),
            found,
        )


def _all_silent(look: Look, _units: tuple[Listened, ...]) -> Iterator[Finding]:
    asked = look.asked
    if look.kind not in {"serial", "serial-tcp", "modbus-tcp"} or not asked or not all(unit.silent for unit in asked):
        return
    if len(asked) == 1 and look.kind != "modbus-tcp":
        return  # of a single unit it cannot be told whether it is the unit or the line: `_unit_silent`
    questions = sum(unit.asked for unit in asked)
    if look.kind == "modbus-tcp":
        said = Text(
            f"网关 {look.place} 能连接，但它后面的设备全部无应答（{len(asked)} 个，询问 {questions} 次）："
            "检查网关串口侧的 A/B、波特率，以及设备地址",
            f"the gateway {look.place} can be reached but no unit behind it answers (units: {len(asked)}, questions:"
            f" {questions}): look at A/B and baud rate on its serial side, and at the unit addresses",
        )
    elif any(Ending.ECHO_ONLY in unit.figures.recent[-DEAD:] for unit in asked):
        said = Text(
            f"全线 {len(asked)} 个设备都无应答，只听到自己的回声（询问 {questions} 次）：转换器和端口正常，"
            "问题在转换器之后：A/B 接反、线断、设备断电或波特率不符",
            f"no unit of the line answers (units: {len(asked)}, questions: {questions}), but our own echo is heard:"
            " adapter and port work, the fault lies behind them: A/B swapped, a broken wire, no supply, baud rate",
        )
    else:
        said = Text(
            f"全线 {len(asked)} 个设备都无应答，一个字节也没有（询问 {questions} 次）：A/B 接反、端口选错、"
            "波特率或校验不符，或转换器没电",
            f"no unit of the line answers, not a byte came (units: {len(asked)}, questions: {questions}): A/B"
            " swapped, wrong port, baud rate or parity, or a converter without supply",
        )
    yield said, asked


_UNHEARD: Mapping[str, Text] = MappingProxyType(  # by kind of bus, of those that have no wiring to be looked at
    {
        "snmp": Text(
            "SNMP 代理 {place} 无应答（{n} 次）：团体名或 v3 用户/口令不对、代理未启用、限制了来访地址，或 IP 不对",
            "the SNMP agent {place} does not answer ({n} questions): wrong community or v3 user and keys,"
            " agent off, our address not allowed, or wrong IP",
        ),
        "uhppote": Text(
            "{place} 上的 {zh} 无应答（{n} 次）：控制器断电、IP 地址或序列号不对，或中间有防火墙",
            "{en} at {place}: no answer ({n} questions): no supply, wrong IP address or serial number, or a firewall"
            " on the way",
        ),
        "zte-http": Text(
            "动环监控单元 {place} 没有 {zh} 的数据（{n} 次）：该设备断电或与单元断开，或 object 编号不对",
            "the site unit {place} has nothing of {en} ({n} questions): no supply, its cable to the unit, or a wrong"
            " object number",
        ),
        "zte-serial": Text(
            "动环监控单元 {place} 后面的 {zh} 无应答（{n} 次）：断电、接线、地址或 object 编号不对",
            "behind the site unit {place} {en}: no answer ({n} questions): supply, wiring, unit or object number",
        ),
        "udp": Text(
            "{place} 上的 {zh} 无应答（{n} 次）：设备断电、IP 地址、端口或设备地址不对，或中间有防火墙",
            "{en} at {place}: no answer ({n} questions): no supply, wrong IP address, port or unit, or a firewall on"
            " the way",
        ),
    }
)


def _agent_silent(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    if look.kind in _UNHEARD and (dead := tuple(unit for unit in units if unit.silent)):
        said, names = _UNHEARD[look.kind], listed(dead)
        figures = {"place": look.place, "n": sum(unit.asked for unit in dead), "zh": names.zh, "en": names.en}
        yield Text(said.zh.format(**figures), said.en.format(**figures)), dead


def _unit_silent(look: Look, units: tuple[Listened, ...]) -> Iterator[Finding]:
    silent = tuple(unit for unit in units if unit.silent)
    working = sum(unit.works for unit in look.asked)
    if not silent or look.kind in _UNHEARD:
        return
    names, last = listed(silent), sum(_row(unit) for unit in silent)
    if not working:
        yield (
            Text(
                f"{names.zh} 无应答（连续 {last} 次），线上没有别的设备可比较：设备断电、地址不对、A/B 接反、"
                "端口或波特率不对",
                f"{names.en}: no answer ({last} in a row), and no other unit to compare with: no supply, wrong address,"
                " A/B swapped, wrong port or baud rate",
            ),
            silent,
        )
    elif len(silent) == 1:
        yield (
            Text(
                f"只有 {names.zh} 无应答（连续 {last} 次），其余 {working} 个正常：该设备断电、地址不对，或其支线断开",
                f"only {names.en} does not answer ({last} in a row), the other {working} are fine: its supply, its"
                " address, or its stub of the cable",
            ),
            silent,
        )
    else:
        yield (
            Text(
                f"{names.zh} 无应答，其余 {working} 个正常：它们共用的电源或线段断开，或地址不对",
                f"{names.en}: no answer, the other {working} are fine: a supply or a piece of cable that they share,"
                " or their addresses",
            ),
            silent,
        )


def _row(unit: Listened) -> int:
    """How many failures there are in a row, up to now."""
    for n, ending in enumerate(reversed(unit.figures.recent)):
        if ending in WORKING:
            return n
    return unit.asked


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "down": _down,
        "second-master": _second_master,
        "babble": _babble,
        "late": _late,
        "gateway": _gateway,
        "all-silent": _all_silent,
        "agent-silent": _agent_silent,
        "unit-silent": _unit_silent,
        "baud": wounds.baud,
        "foreign": wounds.foreign,
        "collision": wounds.collision,
        "head": wounds.head,
        "tail": wounds.tail,
        "losses": _losses,
        "noise": wounds.noise,
        "bad": wounds.bad,
        "flaky": wounds.flaky,
        "echo": wounds.echo,
        "glitches": wounds.glitches,
    }
)
NOTES = frozenset({"echo", "glitches"})


def hints(look: Look) -> tuple[Hint, ...]:
    """Say what is wrong with the wiring of a bus, strongest first; nothing when it is healthy.

    A unit whose trouble one rule explains is not looked at by the rules below it: two hints for one fault help nobody.
    """
    found: list[Hint] = []
    explained: set[int] = set()
    for name, rule in RULES.items():
        left = tuple(unit for unit in look.asked if unit.unit not in explained)
        for text, units in rule(look, left):
            numbers = tuple(unit.unit for unit in units)
            explained.update(numbers)
            found.append(Hint(name, text, numbers, note=name in NOTES))
    return tuple(found)
