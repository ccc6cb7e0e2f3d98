"""`make soak`: what takes minutes or hours to show, part by part; every part is a program of its own.

`python tests/soak.py [PART …]` runs all parts, or those named; it goes on after one that failed, and says which did.
"""

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARTS: dict[str, tuple[str, ...]] = {
    "snmp-v2c": ("soak_snmp.py", "snmp-v2c"),
    "snmp-v3": ("soak_snmp.py", "snmp-v3"),
    "traps": ("soak_snmp.py", "traps"),
    "lines": ("soak_lines.py", "lines"),
    "modbus-tcp": ("soak_lines.py", "modbus-tcp"),
    "events": ("soak_events.py",),
    "kills": ("soak_ledger.py", "kills"),
    "damages": ("soak_ledger.py", "damages"),
    "salvage": ("soak_ledger.py", "salvage"),
    "clocks": ("soak_ledger.py", "clocks"),
    "link": ("soak_ledger.py", "link"),
    "agent-link": ("soak_ledger.py", "agent-link"),
    "bodies": ("fuzz_door.py",),
    "bodies-guided": ("fuzz_guided.py",),
}


def main(names: list[str]) -> int:
    if unknown := set(names) - PARTS.keys():
        print(f"cannot run {', '.join(sorted(unknown))}; valid: {', '.join(PARTS)}")
        return 2
    failed = []
    for name in names or PARTS:
        print(f"--- {name}", flush=True)
        program, *words = PARTS[name]
        began = time.monotonic()
        if subprocess.run([sys.executable, str(HERE / program), *words], check=False).returncode:
            failed.append(name)
        print(f"--- {name}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all parts are good")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
