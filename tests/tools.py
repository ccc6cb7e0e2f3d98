"""Says which programs of other projects the tests need and how to get them, before any test runs."""

import os
import shutil
import sys

NEEDED = {
    "snmpd": "snmpd",
    "snmpget": "snmp",
    "snmpset": "snmp",
    "/lib/nut/snmp-ups": "nut-snmp",
    "/lib/nut/nutdrv_qx": "nut-server",
    "mbpoll": "mbpoll",
}


def main() -> int:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program, path=path) is None})
    if missing:
        print(f"The tests talk to programs that are not here. On Debian: apt-get install {' '.join(missing)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
