"""The stethoscope's figures: percentiles, where broken answers broke, the ring of frames with its pins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.core.stethoscope import Ending, Stray, percentile
from gantry_agent.field.bus.journal import KEPT_ENDINGS, STRAYS_S, Journal
from gantry_agent.field.bus.recorder import PIN_BYTES, PINS, PINS_PER_CAUSE, SEGMENT_BYTES, Recorder
from gantry_agent.field.framing import autopsy, modbus
from gantry_agent.field.request import ReadBits, ReadRegisters, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, BusDown, DeviceRefused, NoReply

READ = ReadRegisters(3, 3, 0x2000, 10)
GOOD = modbus.rtu_frame(3, bytes((3, 20, *range(20))))


# --- percentiles ----------------------------------------------------------------------------------------------------


def test_a_percentile_is_a_value_that_so_many_do_not_exceed():
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 50) == 7.0
    assert percentile([2.0, 1.0], 50) == 1.0
    assert percentile([], 50) is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100


# --- where an answer broke ------------------------------------------------------------------------------------------


def test_nothing_and_an_echo_are_no_broken_answers():
    assert autopsy.dissect(READ, b"").ending is Ending.SILENT
    assert autopsy.dissect(READ, modbus.rtu_request(READ)).ending is Ending.ECHO_ONLY


@pytest.mark.parametrize("at", range(len(GOOD)))
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_found_at_its_byte(at, bit):
    broken = GOOD[:at] + bytes((GOOD[at] ^ 1 << bit,)) + GOOD[at + 1 :]
    assert autopsy.dissect(READ, broken) == (Ending.CRC, at, len(GOOD))


def test_a_byte_broken_in_several_bits_is_found_beside_the_earlier_answer():
    broken = GOOD[:9] + bytes((GOOD[9] ^ 0x5A,)) + GOOD[10:]
    assert autopsy.dissect(READ, broken).at is None
    assert autopsy.dissect(READ, broken, GOOD) == (Ending.CRC, 9, len(GOOD))


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_first_bytes_are_the_head(lost):
    assert autopsy.dissect(READ, GOOD[lost:]) == (Ending.HEAD, 0, len(GOOD))


@pytest.mark.parametrize("kept", range(2, len(GOOD)))
def test_a_missing_end_is_the_tail(kept):
    assert autopsy.dissect(READ, GOOD[:kept]) == (Ending.TAIL, kept, len(GOOD))


def test_a_broken_refusal_is_held_against_a_refusal():
    refusal = modbus.rtu_frame(3, bytes((0x83, 2)))
    assert autopsy.dissect(READ, refusal[:-1]) == (Ending.TAIL, 4, 5)
    assert autopsy.dissect(READ, refusal[1:]) == (Ending.HEAD, 0, 5)
    assert autopsy.dissect(READ, refusal[:2] + b"\x03" + refusal[3:]) == (Ending.CRC, 2, 5)


def test_rubbish_foreign_and_overlong_answers_are_told_apart():
    assert autopsy.dissect(READ, b"\x55\xaa\x12\x99\x01").ending is Ending.GARBLED
    assert autopsy.dissect(READ, modbus.rtu_frame(4, GOOD[1:-2])).ending is Ending.FOREIGN
    assert autopsy.dissect(READ, GOOD[:-2] + b"\x00\x00" + GOOD[:5]).ending is Ending.LONG
    assert autopsy.dissect(READ, b"\x7f" + GOOD[:-1] + b"\x00\x00").ending is Ending.LONG


@pytest.mark.parametrize(
    "request_", [READ, ReadBits(3, 2, 0, 9), WriteBit(3, 5, on=True), WriteRegisters(3, 16, 5, (1, 2))]
)
@given(data=st.data())
def test_whatever_comes_can_be_looked_at(request_, data):
    received = data.draw(st.binary(max_size=64))
    trouble = autopsy.dissect(request_, received, data.draw(st.binary(max_size=64)))
    assert trouble.at is None or 0 <= trouble.at < 256
    assert autopsy.overheard(received) in Stray


def test_the_foreign_frames_of_the_simulator_are_sound():
    assert modbus.crc16(bytes.fromhex("1103006b00037687")) == 0
    assert modbus.crc16(bytes.fromhex("110306ae415652434049ad")) == 0


def test_what_is_overheard_is_a_question_an_answer_or_noise():
    assert autopsy.overheard(bytes.fromhex("1103006b00037687")) is Stray.QUESTION
    assert autopsy.overheard(b"\x00" + bytes.fromhex("1103006b00037687")) is Stray.QUESTION
    assert autopsy.overheard(GOOD) is Stray.ANSWER
    assert (
        autopsy.overheard(modbus.rtu_frame(3, bytes((1, 3, 1, 2, 3)))) is Stray.ANSWER
    )  # 24 bits: a question's length
    assert autopsy.overheard(b"\x00") is Stray.NOISE
    assert autopsy.overheard(b"rubbish") is Stray.NOISE


# --- counting -------------------------------------------------------------------------------------------------------


def fail(journal: Journal, unit: int, error: Exception) -> None:
    with pytest.raises(type(error)), journal.transaction(unit):
        raise error


def test_each_failure_ends_as_what_it_is():
    journal = Journal()
    journal.answered(1, 0.1, 0.02)
    fail(journal, 1, NoReply("x"))
    fail(journal, 1, BadReply("x"))
    fail(journal, 1, DeviceRefused("x", 2))
    fail(journal, 1, DeviceRefused("x", 11))
    counts = journal.statistics[1]
    assert (counts.ok, counts.timeouts, counts.bad, counts.refused) == (1, 1, 1, 2)
    assert counts.recent == (Ending.GOOD, Ending.SILENT, Ending.BAD, Ending.REFUSED, Ending.GATEWAY)
    assert counts.silences_s == (0.02,)


def test_only_the_latest_questions_count_for_hints():
    journal = Journal()
    fail(journal, 1, NoReply("x"))
    journal.came_late(1, 0.5)
    assert journal.statistics[1].late_s == (0.5,)
    for _ in range(KEPT_ENDINGS + 1):
        journal.answered(1, 0.1)
    counts = journal.statistics[1]
    assert set(counts.recent) == {Ending.GOOD}
    assert (counts.late, counts.late_s, counts.troubles) == (1, (), ())


def test_a_bus_that_is_down_says_nothing_of_its_units():
    journal = Journal()
    down = BusDown("cannot open")
    down.__cause__ = FileNotFoundError(2, "No such file")
    fail(journal, 1, down)
    fail(journal, 1, BusDown("next attempt in 3 s"))
    heard = journal.heard(0.0)
    assert heard.units[1].recent == ()
    assert heard.down is not None
    assert (heard.down.kind, heard.down.why) == ("missing", "cannot open")
    journal.frame(1.0, "sent", b"x")
    assert journal.heard(1.0).down is None


def test_a_bus_that_was_lost_and_waits_for_its_next_attempt_is_not_one_that_cannot_be_opened():
    journal = Journal()
    journal.lost(0.0)
    fail(journal, 1, BusDown("next attempt in 0.5 s"))
    assert journal.heard(0.0).down is None
    assert journal.heard(0.0).losses == 1


def test_a_question_whose_medium_goes_away_ends_by_the_loss_and_the_next_one_by_itself():
    journal = Journal()
    with pytest.raises(NoReply), journal.transaction(1):
        journal.lost(0.0)
        raise NoReply("connection lost")
    fail(journal, 1, NoReply("x"))
    assert journal.statistics[1].recent == (Ending.LOST, Ending.SILENT)


def test_strays_are_forgotten_after_some_minutes():
    journal = Journal()
    journal.stray(Stray.QUESTION, 100.0)
    journal.lost(100.0)
    assert journal.heard(101.0).strays == {Stray.QUESTION: 1}
    assert journal.heard(101.0).losses == 1
    assert journal.heard(100.0 + STRAYS_S).strays == {}
    assert journal.heard(100.0 + STRAYS_S).losses == 0


def test_a_question_to_somebody_who_may_not_be_there_is_not_counted():
    journal = Journal()
    with pytest.raises(NoReply), journal.transaction(9, seeking=True):
        raise NoReply("x")
    assert journal.statistics == {}


# --- the ring -------------------------------------------------------------------------------------------------------


def test_the_ring_gives_back_what_it_was_given_and_grows_only_as_used():
    ring = Recorder()
    assert ring.size == 0
    for n in range(10):
        ring.append(float(n), "sent" if n % 2 else "received", bytes((n,)) * n)
    assert [(f.at, f.direction, f.data) for f in ring.frames()][3] == (3.0, "sent", b"\x03\x03\x03")
    assert len(ring.frames()) == 10
    assert [f.at for f in ring.frames(2)] == [8.0, 9.0]
    assert ring.size < 200


def test_the_ring_keeps_within_its_limit_and_drops_the_oldest():
    ring = Recorder(limit=3 * SEGMENT_BYTES)
    for n in range(20_000):
        ring.append(float(n), "sent", bytes(20))
    assert ring.size <= 4 * SEGMENT_BYTES
    assert ring.frames()[-1].at == 19_999.0
    assert ring.frames()[0].at > 5_000


def test_what_came_after_a_mark_is_found_across_segments():
    ring = Recorder()
    for n in range(3000):
        ring.append(float(n), "sent", bytes(20))
    mark = ring.mark
    ring.append(3000.0, "received", b"abc")
    assert [f.data for f in ring.since(mark)] == [b"abc"]
    assert ring.since(ring.mark) == ()
    assert len(ring.since(0)) == 3001


def test_a_pin_survives_the_ring_with_what_was_before_and_after():
    ring = Recorder(limit=2 * SEGMENT_BYTES)
    for n in range(100):
        ring.append(float(n), "sent", bytes((n,)))
    ring.pin("alarm", 99.5)
    ring.append(100.0, "received", b"just after")
    ring.append(120.0, "received", b"long after")
    for n in range(20_000):
        ring.append(200.0 + n, "sent", bytes(20))
    (pin,) = ring.pins
    assert next(f.at for f in pin.frames) == 90.0
    assert pin.frames[-1].data == b"just after"


def test_pins_are_bounded_in_number_and_size_and_the_first_of_a_cause_survives():
    ring = Recorder()
    for n in range(100):
        ring.append(100.0 * n, "sent", bytes(3000))
        ring.pin("flapping", 100.0 * n)
    causes = [pin.at for pin in ring.pins]
    assert len(causes) == PINS_PER_CAUSE
    assert (causes[0], causes[-1]) == (0.0, 9900.0)
    for n in range(40):
        at = 20_000.0 + 100 * n
        ring.pin(f"cause {n}", at)
        for _ in range(100):
            ring.append(at, "sent", bytes(3000))
    assert len(ring.pins) == PINS
    assert all(len(pin.packed) <= PIN_BYTES for pin in ring.pins)
