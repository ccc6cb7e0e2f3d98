"""Says which programs of other projects the tests need and how to get them, before any test runs.

`python tests/tools.py --missing` prints only the names of the Debian packages to install.
"""

import os
import shutil
import sys

NEEDED = {  # program: Debian package
    "snmpd": "snmpd",
    "snmpget": "snmp",
    "snmpset": "snmp",
    "snmptrap": "snmp",
    "mbpoll": "mbpoll",
    "/lib/nut/snmp-ups": "nut-snmp",
    "/lib/nut/nutdrv_qx": "nut-server",
    "faketime": "faketime",
    "ip": "iproute2",
}


def main(arguments: list[str]) -> int:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program, path=path) is None})
    if "--missing" in arguments:
        print(*missing)
        return 0
    if missing:
        print(f"The tests talk to programs that are not here. On Debian: apt-get install {' '.join(missing)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
