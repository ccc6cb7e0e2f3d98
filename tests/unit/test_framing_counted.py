"""Answers that count within themselves: taken apart, packed by hand, and refused to the byte when they do not fit."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.framing.counted import KINDS, Cell, Group, Layout, Run, Unpacked, paths, unpack
from gantry_agent.model import BadReply

MODULES: Layout = (
    Cell("flag", "u8", "data_flag"),
    Cell("volts", "f32"),
    Group("module", (Cell("amps", "f32"), Run("own", "f32"))),
)
FORMS = {"u8": "B", "u16": ">H", "s16": ">h", "f32": "<f"}


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


TWO = b"\x00" + floats(53.5) + b"\x02" + floats(12.25) + b"\x01" + floats(41.0) + floats(11.75) + b"\x00"


def test_floats_are_low_byte_first_and_whole_numbers_high_byte_first() -> None:
    unpacked = unpack((Cell("a", "f32"), Cell("b", "u16"), Cell("c", "s16")), bytes.fromhex("00005642 0cfc fffe"))
    assert [unpacked.value(name, 1, None) for name in "abc"] == [53.5, 3324, -2]


def test_counts_inside_the_answer_say_how_many_there_are() -> None:
    unpacked = unpack(MODULES, TWO)
    assert unpacked.rows == {"module": 2}
    assert [unpacked.value("module.amps", row, None) for row in (1, 2, 3)] == [12.25, 11.75, None]
    assert unpacked.value("module.own", 1, 1) == 41.0
    assert unpacked.value("module.own", 1, 2) is None
    assert unpacked.value("module.own", 2, 1) is None
    assert unpacked.value("volts", 1, None) == 53.5


def test_a_value_that_the_maker_leaves_out_is_not_looked_for() -> None:
    unpacked = unpack(MODULES, TWO[1:], absent=frozenset({"data_flag"}))
    assert unpacked.value("flag", 1, None) is None
    assert unpacked.value("volts", 1, None) == 53.5


def test_groups_in_groups_are_one_row_after_the_other() -> None:
    layout = (Group("screen", (Group("input", (Cell("ua", "u8"),)), Cell("ia", "u8"))),)
    unpacked = unpack(layout, bytes((2, 2, 10, 11, 5, 1, 20, 6)))
    assert unpacked.rows == {"screen": 2, "screen.input": 3}
    assert [unpacked.value("screen.input.ua", row, None) for row in (1, 2, 3)] == [10, 11, 20]
    assert [unpacked.value("screen.ia", row, None) for row in (1, 2)] == [5, 6]


@pytest.mark.parametrize("cut", range(len(TWO)))
def test_an_answer_that_ends_early_is_of_no_use(cut: int) -> None:
    with pytest.raises(BadReply, match="ends after"):
        unpack(MODULES, TWO[:cut])


def test_an_answer_that_goes_on_is_of_no_use() -> None:
    with pytest.raises(BadReply, match="it has"):
        unpack(MODULES, TWO + b"\x00")


kinds = st.sampled_from(sorted(KINDS))
leaves = st.one_of(st.builds(Cell, st.just("x"), kinds), st.builds(Run, st.just("x"), kinds))


def named(items: list[Cell | Run | Group]) -> Layout:
    """Names of their own, so that paths are different."""
    found: list[Cell | Run | Group] = []
    for n, item in enumerate(items):
        match item:
            case Cell(kind=kind):
                found.append(Cell(f"c{n}", kind))
            case Run(kind=kind):
                found.append(Run(f"r{n}", kind))
            case Group(items=inner):
                found.append(Group(f"g{n}", inner))
    return tuple(found)


layouts = st.recursive(
    st.lists(leaves, min_size=1, max_size=4).map(named),
    lambda inner: st.lists(st.one_of(leaves, st.builds(Group, st.just("x"), inner)), min_size=1, max_size=3).map(named),
    max_leaves=6,
)


def packed(layout: Layout, draw: st.DataObject, values: dict[str, list], before: str = "") -> bytes:
    """Random values by a layout, as a device would write them; `values` notes them by path."""
    data = b""
    for item in layout:
        path = before + item.name
        if isinstance(item, Group):
            count = draw.draw(st.integers(0, 3))
            data += bytes([count])
            for _ in range(count):
                data += packed(item.items, draw, values, path + ".")
        elif isinstance(item, Run):
            run = tuple(draw.draw(st.lists(number(item.kind), max_size=3)))
            values.setdefault(path, []).append(run)
            data += bytes([len(run)]) + b"".join(struct.pack(FORMS[item.kind], one) for one in run)
        else:
            one = draw.draw(number(item.kind))
            values.setdefault(path, []).append(one)
            data += struct.pack(FORMS[item.kind], one)
    return data


def number(kind: str) -> st.SearchStrategy:
    return {
        "u8": st.integers(0, 255),
        "u16": st.integers(0, 0xFFFF),
        "s16": st.integers(-0x8000, 0x7FFF),
        "f32": st.floats(width=32, allow_nan=False),
    }[kind]


@given(layouts, st.data())
def test_what_a_device_writes_is_read_back(layout: Layout, draw: st.DataObject) -> None:
    values: dict[str, list] = {}
    assert unpack(layout, packed(layout, draw, values)).values == values


@given(layouts, st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_a_bad_reply(layout: Layout, data: bytes) -> None:
    try:
        unpacked = unpack(layout, data)
    except BadReply:
        return
    assert isinstance(unpacked, Unpacked)
    assert set(unpacked.values) <= {path for path, _ in paths(layout)}
