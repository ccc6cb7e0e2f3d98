"""The long runs of the outbox and its ledger: the same tests as `make test` has a slice of, with the figures asked for.

`python tests/soak_ledger.py PART`; each prints its figures and fails as the test does.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS: dict[str, tuple[str, dict[str, str]]] = {
    # part: the tests, and what they are to do more of
    "kills": ("tests/system/test_ledger_kills.py", {"SOAK_KILLS": "1000", "SOAK_AGENT_KILLS": "150"}),
    "damages": ("tests/system/test_ledger_store.py", {"SOAK_DAMAGES": "1000"}),
    "salvage": ("tests/system/test_store_salvage.py", {"SOAK_DAMAGES": "1000", "SOAK_SALVAGE_KILLS": "50"}),
    "clocks": (
        "tests/system/test_ledger_agent.py::test_when_the_wall_clock_jumps_statuses_are_neither_skipped_nor_bunched",
        {"SOAK_JUMPS": "+1 -1 +5 +1h -1h +1d -1d +30d -30d +3650d -3650d"},
    ),
    "link": (
        "tests/system/test_ledger_uplink.py::test_over_a_flapping_link_everything_arrives_and_only_what_was_in_flight_twice",
        {"SOAK_FLAPS": "40", "SOAK_FLAP_S": "10"},
    ),
    "agent-link": ("tests/system/test_ledger_link.py", {"SOAK_LINK_ROUNDS": "20", "SOAK_LINK_UP_S": "10"}),
}


def main(names: list[str]) -> int:
    if len(names) != 1 or names[0] not in PARTS:
        print(f"valid: {', '.join(PARTS)}")
        return 2
    tests, more = PARTS[names[0]]
    environment = os.environ | more | {"SOAK_TIMEOUT_S": "7200"}
    command = [sys.executable, "-m", "pytest", "-q", "-s", tests]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
