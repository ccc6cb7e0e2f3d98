"""Simulated devices of lines against values worked out by hand from the tables: Voltronic, APC, meters, Kuanyong."""

import struct
from dataclasses import replace

import pytest

from hwsim.devices import PRODUCTS
from hwsim.devices.image import Illegal, Image, ModbusProduct, Seen, take
from hwsim.devices.spoken import MegatecProduct, MeterProduct, Spoken
from hwsim.faults import Fault
from hwsim.plant.orders import Change, UpsTesting
from hwsim.plant.state import Climate, Mains, Spd, State, Ups
from hwsim.wires import meter

PLANT = State(mains=Mains(voltage_v=(231.5, 230.0, 229.0)), climate=Climate(inside_c=25.3, inside_rh=61.2))
ON_BATTERY = replace(
    PLANT,
    mains=Mains(present=(False, True, True)),
    ups=replace(PLANT.ups, source="battery", charge=0.125, battery_v=70.0),
)


def asked(plant: State, command: str) -> Spoken:
    product = PRODUCTS["voltronic"]
    assert isinstance(product, MegatecProduct)
    return product.answer(Seen(plant), command)


def said(plant: State, command: str) -> str:
    return (asked(plant, command).body or b"").decode()


def image(profile: str, plant: State) -> Image:
    product = PRODUCTS[profile]
    assert isinstance(product, ModbusProduct)
    return product.image(Seen(plant))


# --- Voltronic ------------------------------------------------------------------------------------------------------


def test_qgs_stands_in_the_columns_of_the_table() -> None:
    line = said(PLANT, "QGS")
    assert len(line) == 75
    assert (line[1:6], line[7:11], line[45:50], line[57:62], line[63:75]) == (
        "231.5", "50.0", "082.1", "028.3", "100000000001",
    )  # fmt: skip


def test_on_battery_the_bits_for_it_and_for_a_low_one_are_set() -> None:
    line = said(ON_BATTERY, "QGS")
    assert (line[1:6], line[65:69]) == ("000.0", "1100")
    assert said(ON_BATTERY, "QMOD") == "(B"
    assert [place for place, bit in enumerate(said(ON_BATTERY, "QWS")[1:]) if bit == "1"] == [7]


def test_qbv_and_qws_have_their_exact_widths() -> None:
    assert said(ON_BATTERY, "QBV") == "(070.0 06 01 012 012"  # 0.125 × 82.1 V × 9 Ah / 450 W are 12.3 minutes
    assert len(said(PLANT, "QWS")) == 65
    assert (len(said(PLANT, "QRI")), len(said(PLANT, "QMD")), len(said(PLANT, "QVFW"))) == (21, 47, 15)


@pytest.mark.parametrize(
    ("command", "order"),
    [("T", UpsTesting(10.0)), ("T05", UpsTesting(300.0)), ("T.2", UpsTesting(12.0)), ("TL", UpsTesting(600.0)),
     ("CT", UpsTesting(0.0)), ("SOFF", Change("ups", (("enabled", False),)))],
)  # fmt: skip
def test_a_command_is_acknowledged_and_obeyed(command: str, order: UpsTesting | Change) -> None:
    spoken = asked(PLANT, command)
    assert (spoken.body, spoken.effect.orders) == (b"(ACK", (order,))


@pytest.mark.parametrize("command", ["Q1", "TX9", "T1", "X"])
def test_what_it_does_not_know_it_refuses(command: str) -> None:
    spoken = asked(PLANT, command)
    assert (spoken.body, spoken.effect.orders) == (b"(NAK", ())


def test_a_test_shows_in_mode_and_bits() -> None:
    testing = replace(PLANT, ups=replace(PLANT.ups, testing_s=5.0))
    assert (said(testing, "QMOD"), said(testing, "QGS")[70]) == ("(T", "1")


# --- APC ------------------------------------------------------------------------------------------------------------


def test_an_apc_stores_binary_fractions() -> None:
    holding = image("apc-modbus", PLANT).holding
    assert take(holding, 128, 4) == (0, 5911, 51200, 2627)  # 82.1 V × 9 Ah / 450 W; 100 × 512; 82.1 × 32
    assert holding[135] == 3622  # 28.3 × 128
    assert holding[151] == 14816  # 231.5 × 64
    assert take(holding, 0, 2) == (0, 0x0002)
    assert len(take(holding, 0, 27)) + len(take(holding, 128, 32)) + len(take(holding, 516, 120)) == 179


def test_an_apc_on_battery_says_so_in_state_and_signals() -> None:
    holding = image("apc-modbus", ON_BATTERY).holding
    assert take(holding, 0, 2) == (0, 0x0044)  # on battery, input not acceptable
    assert holding[18] == 0b11  # power failure, shutdown imminent
    worn = replace(PLANT, ups=Ups(replace=True, test_result="passed"))
    assert take(image("apc-modbus", worn).holding, 22, 2) == (0b100, 0b1000100)


def test_an_apc_takes_a_self_test_and_nothing_else() -> None:
    product = PRODUCTS["apc-modbus"]
    assert isinstance(product, ModbusProduct)
    assert product.write_registers(Seen(PLANT), 1541, (1,)).orders == (UpsTesting(10.0),)
    assert product.write_registers(Seen(PLANT), 1541, (2,)).orders == (UpsTesting(0.0),)
    for address, value, code in ((1541, 4, 3), (1538, 4, 2)):
        with pytest.raises(Illegal) as refused:
            product.write_registers(Seen(PLANT), address, (value,))
        assert refused.value.code == code


# --- meters and surge protectors ------------------------------------------------------------------------------------


def test_an_sdm120_has_volts_amperes_watts_hertz_and_energy() -> None:
    plant = replace(PLANT, phase_a=(1.5, 9.0, 9.0), phase_w=(345.0, 9.0, 9.0), energy_kwh=1234.5)
    words = image("eastron-sdm120", plant).input
    got = [struct.unpack(">f", struct.pack(">HH", *take(words, at, 2)))[0] for at in (0, 6, 0x0C, 0x46, 0x48)]
    assert got == [231.5, 1.5, 345.0, 50.0, 1234.5]


def test_a_kuanyong_counts_in_its_seventh_register_and_its_contact_is_zero_when_bad() -> None:
    well = image("kuanyong-spd", replace(PLANT, spds=(Spd(strikes=3, life_percent=98.0),))).holding
    assert take(well, 0x63, 12) == (0, 0, 0, 2315, 2300, 2290, 3, 0, 0, 1253, 612, 20)
    assert take(well, 0x200, 2) == (0, 1)
    assert image("kuanyong-spd", replace(PLANT, spds=(Spd(healthy=False),))).holding[0x201] == 0


# --- DL/T 645: the frames are those of PyPI dlt645 (client and server) ------------------------------------------------

ADDRESS = bytes.fromhex("123456789012")
QUESTION = bytes.fromhex("FEFEFEFE 68123456789012 68 11 04 33343435 6B 16")


def test_a_question_of_the_other_program_is_understood_and_answered_as_it_answers() -> None:
    asked = meter.parsed(QUESTION)
    assert asked == meter.MeterFrame(ADDRESS, meter.READ, bytes.fromhex("00010102"))
    said = meter.MeterFrame(ADDRESS, meter.ANSWER, bytes.fromhex("00010102 1523")).written
    assert said == bytes.fromhex("FEFEFEFE 68123456789012 68 91 06 33343435 4856 8B 16")


def test_half_a_question_has_begun_and_not_ended_and_a_broken_one_is_none() -> None:
    for length in range(1, len(QUESTION)):
        assert meter.begins(QUESTION[:length])
        assert not meter.ended(QUESTION[:length])
    assert meter.parsed(QUESTION[:-2] + b"\x00\x16") is None
    assert not meter.begins(bytes.fromhex("68 03 00 00 00 02 C4 0B"))  # Modbus unit 104


@pytest.mark.parametrize("kind", ["bad_crc", "wrong_unit", "wrong_function"])
def test_a_faulty_meter_answers_otherwise(kind: str) -> None:
    answer = meter.MeterFrame(ADDRESS, meter.ANSWER, bytes.fromhex("00010102 1523"))
    assert meter.changed(answer, Fault(kind)) != answer.written


@pytest.mark.parametrize(
    ("item", "digits"),
    [(0x02010100, "1523"), (0x02010200, "0023"), (0x02020100, "001500"), (0x02030000, "503400"), (0x02800002, "0050"),
     (0x00000000, "50341200"), (0x02010400, None)],
)  # fmt: skip
def test_a_meter_gives_decimal_digits_lowest_first(item: int, digits: str | None) -> None:
    product = PRODUCTS["dlt645-meter"]
    assert isinstance(product, MeterProduct)
    plant = replace(PLANT, phase_a=(1.5, 0.0, 0.0), phase_w=(345.0, 0.0, 0.0), energy_kwh=1234.5)
    assert product.answer(Seen(plant), item).body == (bytes.fromhex(digits) if digits else None)
