"""Decoding: every encoding there and back, and any reply at all becomes values or BadReply, nothing else."""

import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.field import codec, plan, profile
from gantry_agent.field.product import Bound, Encoding
from gantry_agent.field.request import (
    AskInputs,
    AskLock,
    AskMeter,
    AskSurge,
    ControllerState,
    ReadAlarms,
    ReadController,
    ReadObject,
)
from gantry_agent.model import BadReply, Quality
from tests import profile_rig as rig

KINDS = {"u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q", "f32": "f", "f64": "d"}
ORDERS = ("big", "little", "swap-words", "swap-bytes")


def encode(kind: str, order: str, value: float) -> tuple[int, ...]:
    """The device's side, written without a look at the codec: bytes of the value, then the maker's order of them."""
    data = struct.pack(">" + KINDS[kind], value)
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    if order in ("little", "swap-bytes"):
        words = [word[::-1] for word in words]
    if order in ("little", "swap-words"):
        words.reverse()
    return tuple(int.from_bytes(word, "big") for word in words)


def numbers(kind: str) -> st.SearchStrategy[Any]:
    bits = 8 * struct.calcsize(KINDS[kind])
    if kind[0] == "f":
        return st.floats(width=bits)  # type: ignore[arg-type]
    return st.integers(0, 2**bits - 1) if kind[0] == "u" else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


cases = st.sampled_from([(kind, order) for kind in KINDS for order in ORDERS]).flatmap(
    lambda case: st.tuples(st.just(case[0]), st.just(case[1]), numbers(case[0]))
)


def read(encoding: Encoding, words: tuple[int, ...], at: int = 0) -> Any:
    return codec.register_reader(encoding, {})(struct.pack(f">{len(words)}H", *words), at)


@given(cases, st.integers(0, 5))
def test_a_number_comes_back_whatever_its_kind_order_and_place(case: tuple[str, Any, float], before: int) -> None:
    kind, order, value = case
    words = (0xABCD,) * before + encode(kind, order, value) + (0x1234,)
    decoded = read(Encoding(kind, order=order), words, before)
    if isinstance(value, float) and not math.isfinite(value):
        assert decoded is Quality.NO_DATA
    else:
        assert decoded == value


@given(st.sampled_from(("u16", "s16", "u32", "s32", "u64", "s64")).flatmap(lambda k: st.tuples(st.just(k), numbers(k))))
def test_what_the_codec_writes_it_reads(case: tuple[str, int]) -> None:
    kind, value = case
    assert codec.encode(kind, value) == encode(kind, "big", value)
    assert read(Encoding(kind), codec.encode(kind, value)) == value


def test_a_value_that_does_not_fit_is_not_written() -> None:
    with pytest.raises(ValueError, match="cannot write 65536 as u16"):
        codec.encode("u16", 65536)


@given(st.integers(0, 0xFFFF), st.integers(0, 15))
def test_a_bit_is_the_bit(word: int, bit: int) -> None:
    assert read(Encoding("u16", bit=bit), (word,)) == int(bool(word & 1 << bit))


@given(st.integers(0, 0xFFFF))
def test_a_mask_cuts_out_a_number(word: int) -> None:
    assert read(Encoding("u16", mask=0x0FF0), (word,)) == word >> 4 & 0xFF


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8))
def test_a_text_ends_at_its_padding(text: str) -> None:
    words = struct.unpack(">4H", text.encode().ljust(8, b"\0"))
    assert read(Encoding("text:4"), words) == text


@pytest.mark.parametrize(
    ("encoding", "word", "value"),
    [
        (Encoding("u16", scale=0.1), 2312, 231.2),
        (Encoding("u16", scale=0.1, offset=-100), 1250, 25.0),
        (Encoding("s16", scale=0.1), 0xFF33, -20.5),
        (Encoding("u16", scale=2), 3, 6),
        (Encoding("u16", scale=0.3), 10, 3.0),
        (Encoding("u16", none=(0xFFFF,)), 0xFFFF, Quality.NO_DATA),
        (Encoding("u16", none=(0,), absent=(0xFFFF,)), 0xFFFF, Quality.NOT_SUPPORT),
        (Encoding("u16", none=(0,), absent=(0xFFFF,)), 0, Quality.NO_DATA),
        (Encoding("u16", none=(Bound(above=1999),), scale=0.1), 2000, Quality.NO_DATA),
        (Encoding("u16", none=(Bound(above=1999),), scale=0.1), 1999, 199.9),
        (Encoding("u16", bit=2, none=(0xFFFF,)), 0xFFFF, Quality.NO_DATA),
        (Encoding("u16", map={1: 5, 2: Quality.NOT_SUPPORT}), 1, 5),
        (Encoding("u16", map={1: 5, 2: Quality.NOT_SUPPORT}), 2, Quality.NOT_SUPPORT),
        (Encoding("u16", map={1: 5}), 9, Quality.NO_DATA),
        (Encoding("u16", map={0: 0}, otherwise=1), 9, 1),
    ],
)
def test_raw_words_are_refused_cut_translated_and_scaled(encoding: Encoding, word: int, value: Any) -> None:
    assert read(encoding, (word,)) == value


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("integer", 5, 5),
        ("integer", b"22", 22),
        ("integer", None, Quality.NOT_SUPPORT),
        ("integer", "1.3.6", Quality.NO_DATA),
        ("integer", 1.5, Quality.NO_DATA),
        ("decimal", b"22.9", 22.9),
        ("decimal", b"15 PERCENT", 15),
        ("decimal", 7, 7),
        ("decimal", b"---.-", Quality.NO_DATA),
        ("decimal", None, Quality.NOT_SUPPORT),
        ("u32", -1, 4294967295),
        ("u32", 5, 5),
        ("s32", 4294967294, -2),
        ("s32", -2, -2),
        ("text", b"Rectifier2\0", "Rectifier2"),
        ("text", ".1.3.6.1", "1.3.6.1"),
        ("text", 5, "5"),
        ("text", None, Quality.NOT_SUPPORT),
        ("any", 1.5, 1.5),
        ("any", "10.0.0.1", "10.0.0.1"),
        ("any", None, Quality.NOT_SUPPORT),
        ("any", float("nan"), Quality.NO_DATA),
    ],
)
def test_snmp_and_host_values(kind: str, raw: Any, value: Any) -> None:
    assert codec.value_reader(Encoding(kind), {})(raw) == value


# --- whole replies

anything = st.one_of(
    st.none(),
    st.integers(),
    st.binary(max_size=8),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-5, 70000), st.text(max_size=3), st.none(), st.floats()), max_size=60).map(tuple),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
words = st.lists(st.integers(0, 65535), min_size=1, max_size=64).map(tuple)
snmp_values = st.one_of(
    st.none(), st.integers(-(2**63), 2**64), st.binary(max_size=12), st.text(max_size=12), st.floats()
)


def all_blocks() -> list[tuple[str, plan.Block, Callable[[Any], dict[str, Any]]]]:
    found = []
    for name in profile.names():
        product = rig.load(name)
        roles = {member: [1] for member in product.members}
        mapping = {(rig.Role(1, "doors"), f"{key}"): (key,) for key in product.points if key.startswith(("di", "do"))}
        it = rig.device(product, roles=roles, mapping=mapping)
        rows = {table.name: ("1", "7") for table in plan.tables(product, it)}
        for block in plan.blocks(product, it, rows):
            found.append((name, block, lambda reply, b=block, p=product, d=it: codec.decode(b, reply, p, d)))
    return found


BLOCKS = all_blocks()


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(BLOCKS), st.data())
def test_any_reply_becomes_values_or_bad_reply(
    case: tuple[str, plan.Block, Callable[[Any], dict[str, Any]]], data: st.DataObject
) -> None:
    _, block, decode = case
    request = block.request
    shaped: st.SearchStrategy[Any]
    if isinstance(request, plan.ReadRegisters):
        shaped = st.lists(st.integers(0, 65535), min_size=request.count, max_size=request.count).map(tuple)
    elif isinstance(request, plan.ReadBits):
        shaped = st.lists(st.integers(0, 1), min_size=request.count, max_size=request.count).map(tuple)
    elif isinstance(request, plan.AskText):
        shaped = st.from_regex(r"\((\d{1,3}\.\d |---\.- ){7}[01]{6,8}", fullmatch=True)
    elif isinstance(request, plan.AskYdt):
        shaped = st.lists(st.sampled_from((0, 1, 2, 0x42, 0xFF)), max_size=60).map(bytes)
    elif isinstance(request, AskMeter):
        shaped = st.one_of(st.binary(max_size=6), st.from_regex(r"([0-9]{2}){1,4}", fullmatch=True).map(bytes.fromhex))
    elif isinstance(request, AskLock | AskInputs | AskSurge):
        size = {AskLock: 27, AskInputs: 15, AskSurge: 46}[type(request)]
        shaped = st.binary(min_size=size, max_size=size)
    elif isinstance(request, ReadController):
        swipes = st.dictionaries(st.integers(1, 4), st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1)))
        shaped = st.builds(ControllerState, st.binary(min_size=64, max_size=64), swipes)
    elif isinstance(request, ReadObject | ReadAlarms):
        numbers = st.sampled_from(["118201001", "118001001", "115238001", "106030001", "108305001", "190262001", ""])
        said = st.one_of(st.text(), st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,20})?", fullmatch=True), st.integers())
        shaped = st.dictionaries(numbers, said)
    else:
        names = request.oids if isinstance(request, plan.GetOids) else request.names
        shaped = st.fixed_dictionaries(dict.fromkeys(names, snmp_values))
    reply = data.draw(st.one_of(shaped, anything))
    try:
        values = decode(reply)
    except BadReply:
        return
    assert set(values) == set(block.keys)
    for value in values.values():
        assert isinstance(value, (int, float, str, Quality))
        assert not isinstance(value, float) or math.isfinite(value)


def test_a_reply_of_the_wrong_shape_is_no_answer() -> None:
    block = plan.Block(plan.ReadBits(1, 2, 0, 2), (), "fast")
    product, it = rig.load("moxa-iologik-e1212"), rig.device(rig.load("moxa-iologik-e1212"))
    for reply in ((1,), (1, 2), {}, (1, 0, 1)):
        with pytest.raises(BadReply):
            codec.decode(block, reply, product, it)  # type: ignore[arg-type]


def test_the_profiles_folder_is_part_of_the_package() -> None:
    assert (Path(profile.__file__).parent.parent / "profiles" / "chint-dtsu666.yaml").is_file()
