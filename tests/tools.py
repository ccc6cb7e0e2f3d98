"""Says which programs of other projects the tests need and how to get them, before any test runs.

`python tests/tools.py --missing` prints only the names of the Debian packages to install.
"""

import os
import shutil
import sys
from pathlib import Path

NEEDED = {  # program: Debian package
    "snmpd": "snmpd",
    "snmpget": "snmp",
    "snmpset": "snmp",
    "snmptrap": "snmp",
    "mbpoll": "mbpoll",
    "/lib/nut/snmp-ups": "nut-snmp",
    "/lib/nut/nutdrv_qx": "nut-server",
    "/lib/nut/huawei-ups2000": "nut-modbus",
    "faketime": "faketime",
    "ip": "iproute2",
    "curl": "curl",
    "openssl": "openssl",
    "ffmpeg": "ffmpeg",
}
FILES = {  # of packages that have no program: a GStreamer RTSP server in Python
    "usr/lib/python3/dist-packages/gi/__init__.py": "python3-gi",
    "usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib": "gir1.2-gst-rtsp-server-1.0",
    "usr/lib/*/gstreamer-1.0/libgstvideoconvertscale.so": "gstreamer1.0-plugins-base",
    "usr/lib/*/gstreamer-1.0/libgstsoup.so": "gstreamer1.0-plugins-good",
    "usr/lib/*/gstreamer-1.0/libgstx264.so": "gstreamer1.0-plugins-ugly",
}


def main(arguments: list[str]) -> int:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted(
        {package for program, package in NEEDED.items() if shutil.which(program, path=path) is None}
        | {package for place, package in FILES.items() if not any(Path("/").glob(place))}
    )
    if "--missing" in arguments:
        print(*missing)
        return 0
    if missing:
        print(f"The tests talk to programs that are not here. On Debian: apt-get install {' '.join(missing)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
