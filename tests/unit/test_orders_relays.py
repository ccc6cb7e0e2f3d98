"""What power modes cut, what of it is kept, and the program that reboots this PC."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from gantry_agent.core.interlocks import Instant
from gantry_agent.orders.changes import is_override, read_overrides, written
from gantry_agent.orders.modes import cut_by
from gantry_agent.orders.relays import run_to_end

LEVELS = (((1, "aircon"), (2, "aircon")), (), ((1, "antenna"),))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0, set()),
        (1, {(1, "aircon"), (2, "aircon")}),
        (2, {(1, "aircon"), (2, "aircon")}),
        (3, {(1, "aircon"), (2, "aircon"), (1, "antenna")}),
    ],
)
def test_levels_are_cumulative(mode: int, expected: set):
    assert cut_by(LEVELS, mode) == expected


def test_the_mode_and_what_was_rebooted_when_are_read_back():
    kept = {"power_mode": "2", "rebooted.router": "1700000000.123", "rebooted.2.pc": "17", "rebooted.x": "soon"}
    found = read_overrides(kept)
    assert found.power_mode == 2
    assert found.rebooted == {"router": Instant(1700000000.123), "2.pc": Instant(17.0)}
    when = Instant(1700000000.123, "2f0e-boot", 61.5)
    assert read_overrides({"rebooted.router": written(when)}).rebooted == {"router": when}
    assert read_overrides({"power_mode": "4"}).power_mode == 0
    assert read_overrides({}).power_mode == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("power_mode", True),
        ("defend.12", True),
        ("server.cabinet", True),
        ("defend.x", False),
        ("defend.", False),
        ("rebooted.router", False),
        ("told.1", False),
    ],
)
def test_an_override_is_what_a_command_set_and_a_person_may_drop(name: str, expected: object):
    assert is_override(name) is expected


async def test_a_program_that_ends_well_says_nothing_and_another_says_why():
    assert await run_to_end(shutil.which("true") or "") is None
    said = await run_to_end(sys.executable, "-c", "import sys; sys.exit('Access denied')")
    assert said == "ended with 1: Access denied"
    assert await run_to_end("/nowhere/systemctl", "reboot") == "cannot be run: No such file or directory"


async def test_a_program_that_hangs_is_ended():
    assert await run_to_end(shutil.which("sleep") or "", "60", within_s=0.2) == "did not end in 0.2 s"


def test_the_polkit_rule_is_for_the_user_of_the_unit():
    folder = Path(__file__).parents[2] / "systemd"
    user = re.search(r"^User=(\w+)$", (folder / "gantry-agent.service").read_text(), re.MULTILINE)
    rule = (folder / "50-gantry-agent.rules").read_text()
    assert user
    assert f'subject.user === "{user[1]}"' in rule
    assert f"Identity=unix-user:{user[1]}" in rule
    assert set(re.findall(r'"(org\.[\w.-]+)"', rule)) == {
        "org.freedesktop.login1.reboot",
        "org.freedesktop.login1.reboot-multiple-sessions",
    }
