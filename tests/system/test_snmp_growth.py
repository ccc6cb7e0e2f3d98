"""A short soak: thousands of questions of v2c and v3, some given up, some to nobody, leave nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SOAK = Path(__file__).parents[1] / "soak_snmp.py"


def test_polling_leaves_nothing_behind():
    """The scales make 20 000 questions of v2c, 1500 of v3 and 50 000 traps; a day of each is `make soak`."""
    scales = {"snmp-v2c": 0.106, "snmp-v3": 0.0079, "traps": 0.05}
    children = {
        part: subprocess.Popen(
            [sys.executable, str(SOAK), "--here", "--scale", str(scale), part], stdout=subprocess.PIPE, text=True
        )
        for part, scale in scales.items()
    }
    told = {part: json.loads(child.communicate(timeout=100)[0]) for part, child in children.items()}
    assert {part: figures["grown"] for part, figures in told.items()} == {part: [] for part in scales}, told
    assert told["snmp-v2c"]["count"] > 20_000
    assert told["snmp-v3"]["count"] > 1500
    assert told["snmp-v3"]["missed"] > 0.04 * told["snmp-v3"]["count"]
