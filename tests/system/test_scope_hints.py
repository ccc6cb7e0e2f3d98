"""Each wiring hint against its fault on a simulated bus: the right one wins, and a healthy bus has none.

A test marked `@validates(rule, zh, en)` injects the fault of that rule and gives the hints that were found; the mark
holds the first of them against the rule, in both languages. A rule without such a test is a fault (the last test).
"""

import socket

import pytest
from hints_rig import (
    NAMES,
    PATIENT_S,
    QUESTIONS,
    SITE,
    VALIDATED,
    WAIT_S,
    Rig,
    listen,
    listen_until,
    lose_again_and_again,
    often,
    validates,
)
from support import ask, free_ports, python, running

from gantry_agent.core.stethoscope import HUSHED, SEVERAL, Ending, Stray
from gantry_agent.core.wiring import RULES
from gantry_agent.field.bus import open_link
from gantry_agent.field.request import Timing

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(scope="module")
def hardware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scope")
    ports = dict(zip(("tcp", "converter"), free_ports(2), strict=True))
    ports |= dict(zip(("udp",), free_ports(1, socket.SOCK_DGRAM), strict=True))
    site = folder / "site.yaml"
    site.write_text(SITE.format(folder=folder, **ports), encoding="utf-8")
    with running(*python("hwsim", "run", "--site", str(site), "--fast-lines"), ready="^hwsim ready") as process:
        api = process.wait_for(r"hwsim api http").split()[-1]
        yield Rig(api, folder, ports)


@pytest.fixture
def rig(hardware):
    yield hardware
    ask(f"{hardware.api}/fault", method="DELETE")


# --- no fault -------------------------------------------------------------------------------------------------------


async def test_a_healthy_bus_gives_no_hint(rig):
    assert await listen(rig.line(), (*QUESTIONS, 9)) == ()
    assert await listen(rig.gateway(), (3,)) == ()
    assert await listen(rig.converter(), (7,)) == ()
    assert await listen(rig.agent(), (0,), response_s=PATIENT_S) == ()


# --- the way to the bus ---------------------------------------------------------------------------------------------


@validates("down", zh="拒绝连接", en="refuses the connection")
async def test_a_refused_connection_is_the_port_or_somebody_else(rig):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return await listen(rig.gateway(closed.getsockname()[1]), (3,), rounds=4)


@validates("down", zh="by-path", en="by-path")
async def test_a_missing_port_is_an_adapter_that_was_pulled_out(rig):
    return await listen(rig.line(port=str(rig.folder / "ttyUSB9")), (3,), rounds=4)


@validates("down", zh="另一个程序", en="another program")
async def test_a_port_in_use_is_told_from_a_missing_one(rig):
    holder = open_link(rig.line())
    try:
        await holder.transact(QUESTIONS[3], Timing(WAIT_S, 0.0))
        return await listen(rig.line(), (3,), rounds=4)
    finally:
        await holder.close()


@pytest.mark.parametrize(
    ("bus", "unit", "back"), [("gateway", 3, True), ("converter", 7, False)], ids=["back", "just lost"]
)
@validates("losses", zh="的连接近来断开 3 次", en="was lost 3 times lately")
async def test_a_connection_closed_again_and_again_is_the_supply_or_another_client(rig, bus, unit, back):
    return await lose_again_and_again(rig, getattr(rig, bus)(), unit, back=back)


@validates("losses", zh="的连接近来断开", en="was lost")
async def test_a_connection_closed_for_every_answer_says_nothing_against_its_unit(rig):
    return await listen_until(
        lambda heard: heard.losses >= SEVERAL, rig.gateway(), (3,), during=lambda: rig.fault("drop", "1.far")
    )


@validates("losses", zh="的串口近来断开 3 次", en="the port the line was lost 3 times lately")
async def test_a_port_that_vanishes_again_and_again_is_the_plug_of_the_adapter(rig):
    return await lose_again_and_again(rig, rig.line(), 3, back=True)


# --- who else speaks ------------------------------------------------------------------------------------------------


@validates("second-master", zh="第二个主站", en="second master")
async def test_questions_that_are_not_ours_are_a_second_master(rig):
    rig.fault("second_master", "1.water")
    return await listen(rig.line(), pause_s=0.03, rounds=12)


@validates("babble", zh="一直不安静", en="does not fall silent")
async def test_a_line_with_noise_all_the_time_is_a_stuck_transmitter_or_has_no_bias(rig):
    slow = rig.line(port=str(rig.folder / "ttySlow"), baudrate=1200)  # its silence is 29 ms: hwsim must not miss it
    return await listen_until(
        lambda heard: heard.strays.get(Stray.BABBLE, 0) >= SEVERAL,
        slow,
        (2,),
        during=lambda: rig.fault("babble", "1.slow"),
    )


# --- nobody answers -------------------------------------------------------------------------------------------------


@validates("late", zh="response_ms", en="raise response_ms")
async def test_answers_just_beyond_the_time_out_ask_for_a_longer_one(rig):
    rig.fault("late", "1.meter", ms=80)
    found = await listen(rig.line())
    assert found[0].units == (3,)
    return found


@validates("late", zh="response_ms", en="raise response_ms")
async def test_late_answers_through_a_gateway_are_found_too(rig):
    rig.fault("late", "1.far", ms=20)  # behind the 50 ms that this meter always takes
    return await listen(rig.gateway(), (3,))


@validates("gateway", zh="网关在线", en="the gateway is there")
async def test_a_gateway_that_reports_silence_is_told_from_one_that_is_silent(rig):
    rig.fault("exception", "1.far", code=11)
    return await listen(rig.gateway(), (3,))


@validates("all-silent", zh="网关", en="gateway")
async def test_a_reachable_gateway_without_units_is_its_own_serial_side(rig):
    rig.fault("silent", "1.far")
    found = await listen(rig.gateway(), (3,))
    assert found[0].units == (3,)
    return found


@validates("all-silent", zh="一个字节也没有", en="A/B")
async def test_a_whole_line_without_a_byte_is_swapped_or_the_wrong_port(rig):
    rig.fault("silent", *NAMES.values())
    (found,) = await listen(rig.line())
    assert found.units == (2, 3, 7, 35, 52)
    return (found,)


@validates("agent-silent", zh="SNMP 代理 the line 无应答", en="does not answer (4 questions)")
async def test_an_snmp_agent_that_says_nothing_is_off_or_elsewhere(rig):
    rig.fault("silent", "1.power")
    (found,) = await listen(rig.agent(), (0,), rounds=4)
    assert found.units == (0,)
    return (found,)


@validates("agent-silent", zh="团体名", en="wrong community")
async def test_an_snmp_agent_asked_with_the_wrong_community_says_nothing(rig):
    return await listen(rig.agent(community="public"), (0,), rounds=4)


@validates("unit-silent", zh="地址", en="only 1.smoke (unit 7) does not answer")
async def test_one_silent_unit_among_others_is_address_or_supply(rig):
    rig.fault("silent", "1.smoke")
    (found,) = await listen(rig.line())
    assert found.units == (7,)
    return (found,)


@validates("unit-silent", zh="共用的电源或线段", en="a piece of cable that they share")
async def test_two_silent_units_share_a_piece_of_cable(rig):
    rig.fault("silent", "1.smoke", "1.water")
    found = await listen(rig.line())
    assert found[0].units == (2, 7)
    return found


# --- broken answers -------------------------------------------------------------------------------------------------


@validates("baud", zh="线路的波特率", en="stop bits")
async def test_rubbish_from_everybody_is_the_baud_rate_of_the_line(rig):
    rig.fault("baud", *NAMES.values())
    return await listen(rig.line())


@validates("baud", zh="该设备的波特率", en="1.meter")
async def test_rubbish_from_one_unit_is_its_own_baud_rate(rig):
    rig.fault("baud", "1.meter")
    found = await listen(rig.line())
    assert found[0].units == (3,)
    return found


@validates("foreign", zh="设备地址重复", en="an address used twice")
async def test_sound_answers_of_another_unit_are_foreign(rig):
    rig.fault("wrong_unit", "1.meter")
    found = await listen(rig.line())
    assert found[0].units == (3,)
    return found


@validates("collision", zh="两个设备用了同一地址", en="two units have the same address")
async def test_answers_over_each_other_at_one_address_are_two_units_there(rig):
    rig.fault("collision", "1.meter")
    found = await listen(rig.line(), pause_s=0.03, rounds=20)
    assert found[0].units == (3,)
    return found


@validates("head", zh="坏在开头", en="break at their head")
async def test_answers_that_break_at_their_head_are_the_direction_or_bias(rig):
    rig.fault("head", *NAMES.values(), percent=60)
    return await listen(rig.line())


@validates("tail", zh="缺尾部", en="the end of answers is missing")
async def test_answers_without_their_end_are_a_transmitter_switched_off_too_early(rig):
    rig.fault("tail", "1.meter", "1.climate", percent=60, bytes=2)
    found = await listen(rig.line())
    assert found[0].units == (3, 52)
    return found


@validates("noise", zh="线路有干扰", en="noise on the line")
async def test_flipped_bits_anywhere_are_noise(rig):
    rig.fault("noise", *NAMES.values(), percent=50)
    # Chance must not put most of them at the head: of the other answers, which are short, it is nearly half.
    return await listen(rig.line(), (3, 35, 52), rounds=60, patience=25)


@validates("noise", zh="支线", en="stub")
async def test_flipped_bits_of_one_unit_are_its_own_connection(rig):
    rig.fault("noise", "1.meter", percent=50)
    found = await listen(rig.line())
    assert found[0].units == (3,)
    return found


@pytest.mark.parametrize(
    ("kind", "name", "bus", "unit"),
    [
        ("wrong_function", "1.far", "gateway", 3),
        ("garbage", "1.far", "gateway", 3),  # which costs the connection each time
        ("garbage", "1.power", "agent", 0),
        ("bad_crc", "1.psu", "line", 9),  # whose frames do not show where they break
    ],
)
@validates("bad", zh="的应答不合协议", en="answers do not fit the protocol")
async def test_a_share_of_answers_that_are_none_is_the_product_or_the_gateway(rig, kind, name, bus, unit):
    found = await listen_until(
        often(unit, frozenset({Ending.BAD})),
        getattr(rig, bus)(),
        (unit,),
        during=lambda: rig.fault(kind, name, percent=40),
    )
    assert found[0].units == (unit,)
    return found


# --- now and then ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "name", "bus", "units"),
    [
        ("silent", {"percent": 40}, "1.smoke", "line", (2, 7)),
        ("silent", {"percent": 40}, "1.far", "gateway", (3,)),
        ("loose", {"ms": 400}, "1.smoke", "line", (2, 7)),
        ("loose", {"ms": 400}, "1.power", "agent", (0,)),
    ],
)
@validates("flaky", zh="时有时无", en="answers come and go")
async def test_a_unit_that_comes_and_goes_is_a_loose_contact_or_its_supply(rig, kind, more, name, bus, units):
    found = await listen_until(
        often(units[-1], HUSHED), getattr(rig, bus)(), units, during=lambda: rig.fault(kind, name, **more)
    )
    assert found[0].units == units[-1:]
    return found


# --- worth knowing --------------------------------------------------------------------------------------------------


@validates("echo", zh="回声", en="hears itself")
async def test_an_echoing_adapter_is_worth_a_note_and_no_fault(rig):
    rig.fault("echo", *NAMES.values())
    (found,) = await listen(rig.line())
    return (found,)


@validates("glitches", zh="杂乱字节", en="stray bytes before good answers")
async def test_glitches_before_good_answers_are_a_note(rig):
    rig.fault("garbage", "1.meter", bytes=1)
    (found,) = await listen(rig.line())
    return (found,)


def test_no_rule_is_without_a_test_that_injects_its_fault():
    assert set(RULES) == VALIDATED
