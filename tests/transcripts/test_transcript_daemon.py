"""What the daemon tells the cloud of every device of a line, for each shape of site that its transcript has.

The devices answer on free ports what the transcripts say; door controllers and locks, which have no transcript of
readings, by frames that are written out here.
"""

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field.framing import shengjiu
from gantry_agent.model import Quality
from tests import daemon_rig, daemon_wires
from tests import profile_rig as rig
from tests.daemon_rig import Case, Told
from tests.daemon_wires import FarEnd
from tests.transcripts.test_profile_transcripts import TRANSCRIPTS

LONGEST = 4  # cases that one device goes through; more take more rounds, fewer more devices
# What a device refuses that gave a value before is a failure, and is asked for again: these have devices of their own.
REFUSING = frozenset({"dlt645-meter: a single-phase meter refuses the other phases"})
SERIAL = 423187757
# UHPPOTE get-status and its answer: event 0, door 1 open, relay of door 1 drawn (bytes 28 and 49), error 0.
ASK_STATUS = bytes([0x17, 0x20, 0, 0]) + SERIAL.to_bytes(4, "little") + bytes(56)
STATUS = ASK_STATUS[:28] + b"\1" + bytes(20) + b"\1" + bytes(14)
LOCK_OPEN = b"\1" + bytes(13)  # of the answer to a Shengjiu lock's query: state, card, the rest
READS = {"doors.frontDoorClosed": ["door1_open", True], "doors.frontDoorLocked": ["door1", True]}


def of_transcript(name: str, case: Mapping[str, Any]) -> Case:
    whole = {"unit": TRANSCRIPTS[name]["unit"], **case}
    if "object" in TRANSCRIPTS[name]:
        whole.setdefault("object", TRANSCRIPTS[name]["object"])
    return daemon_rig.sayable(f"{name}: {case['name']}", name, whole, case["expected"])


def of_contacts(name: str, case: Mapping[str, Any]) -> Case | None:
    """The raw points of a case that are 0 or 1, each as if a surge protector's contact were wired to it."""
    points = {point: value for point, value in case.get("points", {}).items() if value in (0, 1, "NoData")}
    if not points or "thunderSpd" in rig.load(name).members or case["expected"]:
        return None
    wired = {f"thunderSpd[{n}].status": (point, value) for n, (point, value) in enumerate(points.items(), 1)}
    mapped = {target: [point] for target, (point, _) in wired.items()}
    whole = {"unit": TRANSCRIPTS[name]["unit"], **case, "map": mapped}
    expected = {target.replace("[1]", ""): value for target, (_, value) in wired.items()}
    return Case(f"{name}: contacts, {case['name']}", name, whole, expected)


WRITTEN = [of_transcript(name, case) for name, one in TRANSCRIPTS.items() for case in one["cases"]]
BY_HAND = [
    Case(
        "uhppote-controller: door 1 open, its relay drawn",
        "uhppote-controller",
        {
            "parameters": {"serial": SERIAL},
            "map": READS,
            "said": {ASK_STATUS.hex(): STATUS.hex()},
            "cabinet": {
                "outputs": {"lock": {"device": "it", "point": "door1", "pulse_s": 5.0}},
                "doors": {"front": {"unlock": "lock"}},
            },
        },
        {"doors.frontDoorClosed": 0, "doors.frontDoorLocked": 0},
    ),
    Case(
        "shengjiu-lock: open",
        "shengjiu-lock",
        {
            "unit": 9,
            "map": {"doors.backDoorLocked": ["unlocked", True]},
            "said": {shengjiu.encode(9, 1, 0x0016).hex(): shengjiu.encode(1, 9, 0x0016, LOCK_OPEN).hex()},
        },
        {"doors.backDoorLocked": 0},
    ),
]
CONTACTS = [
    contacts for name, one in TRANSCRIPTS.items() for case in one["cases"] if (contacts := of_contacts(name, case))
]
ALONE = [case for case in WRITTEN if case.name in REFUSING]
ON_ONE = [case for case in WRITTEN if case.expected and case not in ALONE]
CHAINS = [*daemon_rig.chained([*ON_ONE, *CONTACTS, *BY_HAND], LONGEST), *([case] for case in ALONE)]
CASES = [case for chain in CHAINS for case in chain]


def far_end(case: Case, *, tcp: bool) -> FarEnd:
    """Who answers for a case; Modbus on a line or over TCP."""
    protocol, unit = case.product.protocol, case.given.get("unit", 1)
    if "image" in case.given:
        image = rig.Image(case.given["image"])
        if tcp:
            return FarEnd("modbus-tcp", daemon_wires.modbus_tcp(image, unit), image)
        return FarEnd("serial-tcp", daemon_wires.modbus_rtu(image, unit), image)
    answers = {_bytes(question, protocol): _bytes(answer, protocol) for question, answer in case.given["said"].items()}
    if protocol == "zte":
        return FarEnd("zte-http", daemon_wires.site_unit(answers), answers=answers)
    if protocol in {"huazi", "uhppote"}:
        return FarEnd({"huazi": "udp"}.get(protocol, protocol), None, answers=answers)
    return FarEnd("serial-tcp", daemon_wires.talking(answers), answers=answers)


def _bytes(said: str, protocol: str) -> bytes:
    if protocol in {"megatec", "ydt1363"}:
        return said.encode("ascii") + b"\r"
    return said.encode() if protocol == "zte" else bytes.fromhex(said)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    """One daemon with all of them."""
    ends = [far_end(chain[0], tcp=bool(n % 2)) for n, chain in enumerate(CHAINS)]

    def change(place: int, case: Case) -> None:
        ends[place].change(far_end(case, tcp=bool(place % 2)))

    return daemon_rig.all_told(CHAINS, daemon_wires.all_of(ends), tmp_path_factory.mktemp("daemon"), change)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_the_daemon_tells_this_of_the_device(told: Mapping[str, Told], case: Case) -> None:
    daemon_rig.assert_told(told[case.name], case)


def test_every_product_of_a_line_is_among_them() -> None:
    assert {case.profile for case in CASES} >= set(TRANSCRIPTS)
    assert len({case.name for case in CASES}) == len(CASES)


def test_probe_reads_every_point_of_what_fills_nothing_by_itself(tmp_path: Path) -> None:
    """Such a device is looked at before a site names any of its points."""
    chosen = {case.profile: case for case in reversed(CASES) if not any(case.product.members.values())}
    boards = [dataclasses.replace(case, given={**case.given, "map": {}, "roles": {}}) for case in chosen.values()]
    assert len(boards) > 10

    async def probed() -> None:
        async with (
            daemon_wires.all_of([far_end(case, tcp=True) for case in boards]) as buses,
            daemon_rig.daemon(daemon_rig.site(boards, buses, tmp_path), tmp_path) as it,
        ):
            for n, case in enumerate(boards, 1):
                steps = [step async for step in it.look(daemon_rig.key(n, case))]
                said = {point["point"]: point["quality"] for step in steps for point in step.get("points", ())}
                assert set(said) >= set(case.product.points), case.name
                assert Quality.GET_FAILED not in said.values(), case.name

    asyncio.run(probed())
