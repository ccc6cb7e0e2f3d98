"""From a profile to requests for what is asked by commands: Megatec, YD/T 1363 and DL/T 645.

One command gives many points, so all that stands in one answer is read by one request, as fast as the most urgent of
its points needs it. Tables of YD/T 1363 are the counted groups of an answer. What is read at all is `plan`'s matter.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gantry_agent.field import codec
from gantry_agent.field.framing.counted import Layout, unpack
from gantry_agent.field.product import (
    Point,
    Profile,
    Table,
    read_name,
)
from gantry_agent.field.product_places import (
    Commands,
    InAnswer,
    InItem,
    InText,
    Question,
)
from gantry_agent.field.profile_serial import ADDRESS, FILLED_IN, ROW, VERSION
from gantry_agent.field.request import AskMeter, AskText, AskYdt, Block, Placed, Reply
from gantry_agent.model import BadReply, Device, Lane, Value

PROTOCOLS = frozenset({"megatec", "ydt1363", "dlt645"})


@dataclass(frozen=True, slots=True)
class Pick:
    """A point that is to be read, under its key; `row` counts from 1 in its table."""

    key: str
    point: Point
    table: str = ""
    row: int | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """A counted group of an answer, whose rows are to be found."""

    layout: Layout
    path: str
    absent: frozenset[str]


def blocks(picks: Iterable[Pick], profile: Profile, device: Device) -> Iterator[Block]:
    """One block for each command."""
    parameters = profile.parameters_of(device)
    asked: dict[AskText | AskYdt | AskMeter, list[Placed]] = {}
    fast: set[AskText | AskYdt | AskMeter] = set()
    for pick in picks:
        request, placed = _placed(pick, profile, device, parameters)
        asked.setdefault(request, []).append(placed)
        if pick.point.lane == "fast":
            fast.add(request)
    for request, points in asked.items():
        lane: Lane = "fast" if request in fast else "slow"
        yield Block(request, tuple(points), lane)


def _placed(
    pick: Pick, profile: Profile, device: Device, parameters: Mapping[str, Value]
) -> tuple[AskText | AskYdt | AskMeter, Placed]:
    place, encoding = pick.point.place, pick.point.encoding
    if isinstance(place, InText):
        text = codec.text_reader(place, encoding, parameters)
        return AskText(device.unit, place.command), Placed(pick.key, text)
    if isinstance(place, InItem):
        number = meter_number(profile, device)
        return AskMeter(device.unit, number, place.item), Placed(pick.key, codec.meter_reader(encoding, parameters))
    assert isinstance(place, InAnswer)
    if place.row is None:
        place = replace(place, row=pick.row)
    value = codec.answer_reader(place, encoding, parameters)
    question = profile.answers[place.answer].question
    return ask(question, profile, device), Placed(pick.key, value, table=pick.table)


def meter_number(profile: Profile, device: Device) -> str:
    """The number of a DL/T 645 meter; one that the site file has without its first zeros gets them back."""
    return str(profile.parameters_of(device)[ADDRESS]).zfill(12)


def ask(question: Question, profile: Profile, device: Device, row: int = 0) -> AskYdt:
    """Fill a question in for one device."""
    parameters = profile.parameters_of(device)
    info = bytes(_byte(term, parameters, row) for term in question.info)
    return AskYdt(device.unit, _byte(VERSION, parameters, row), question.cid1, question.cid2, info)


def _byte(term: int | str, parameters: Mapping[str, Value], row: int) -> int:
    number = row if term == ROW else int(parameters[term]) if isinstance(term, str) else term
    if not 0 <= number <= 0xFF:
        raise ValueError(f"cannot put {number} into one byte ({term})")
    return number


def write(profile: Profile, device: Device, target: str, value: int) -> tuple[AskText | AskYdt, Block] | None:
    """The command that makes a point be `value`, and what to read it back by; None if no command does.

    A point of a table's row is named as its reading is: `rectifier[2].module_on`.
    """
    pick = _writable(profile, target)
    if pick is None or not isinstance(pick.point.write, Commands):
        return None
    wanted = pick.point.write.by_value.get(value)
    if wanted is None:
        return None
    block = next(blocks((pick,), profile, device))
    if isinstance(wanted, str):
        parameters = profile.parameters_of(device)
        command = FILLED_IN.sub(lambda found: f"{int(parameters[found[1]]):02d}", wanted)
        return AskText(device.unit, command, answered=False), block
    return ask(wanted, profile, device, pick.row or 0), block


def _writable(profile: Profile, target: str) -> Pick | None:
    if target in profile.points:
        return Pick(target, profile.points[target])
    named = read_name(target)
    for table in profile.tables.values():
        for key, point in table.points.items():
            name = read_name(key)
            if named and name and point.write and (named.member, named.field) == (table.member, name.field):
                return Pick(target, point, table.name, named.number or 1)
    return None


def located(table: Table, profile: Profile, device: Device) -> tuple[AskYdt, Counted]:
    """What is asked to find a table's rows, and where they are counted in the answer."""
    assert table.rows is not None
    answer = profile.answers[table.rows.answer]
    absent = codec.absent(profile.parameters_of(device))
    return ask(answer.question, profile, device), Counted(answer.layout, table.rows.path, absent)


def rows(counted: Counted, reply: Reply) -> tuple[str, ...]:
    """The rows by number, () of who does not know the command; BadReply when the answer is laid out otherwise."""
    if reply == ():
        return ()
    if not isinstance(reply, bytes):
        raise BadReply("cannot use the reply: the INFO of an answer is wanted")
    count = unpack(counted.layout, reply, counted.absent).rows.get(counted.path, 0)
    return tuple(str(number) for number in range(1, count + 1))
