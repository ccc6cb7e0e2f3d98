"""A peer nobody here wrote: Debian's snmpd is read as the gantry's other PC and agrees with psutil."""

import shutil
import socket
from pathlib import Path

import psutil
import pytest
from support import AUTH, GANTRY, ask, eventually, free_ports, python, running

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 10}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{slow_s: 1}}
buses:
  toll-pc: {{type: snmp, host: 127.0.0.1, port: {snmp}, version: 2c, community: public}}
computers:
  - {{id: 1, monitor: true, source: local, data_disk: /, nic: lo, link_mbps: 1000}}
  - {{id: 2, main: true, source: snmp, bus: toll-pc, data_disk: /, nic: lo, link_mbps: 1000}}
"""


def test_snmpd_is_read_as_another_pc_and_agrees_with_this_one(tmp_path: Path):
    snmpd = shutil.which("snmpd", path="/usr/sbin:/usr/bin:/sbin")
    assert snmpd, "snmpd is not installed: apt-get install snmpd"
    cloud, control = free_ports(2)
    [snmp] = free_ports(1, socket.SOCK_DGRAM)
    conf = tmp_path / "snmpd.conf"
    conf.write_text(f"agentaddress udp:127.0.0.1:{snmp}\nrocommunity public 127.0.0.1\ndisk / 1%\n")
    site = tmp_path / "site.yaml"
    site.write_text(
        SITE.format(gantry=GANTRY, auth=AUTH, cloud=cloud, control=control, snmp=snmp, folder=tmp_path)
    )  # fmt: skip
    peer = (snmpd, "-f", "-Lo", "-C", "-c", str(conf), "-p", str(tmp_path / "pid"))
    with (
        running(*peer, ready="NET-SNMP version", env={"SNMP_PERSISTENT_DIR": str(tmp_path)}),
        running(*python("hwsim", "cloud", "--auth", AUTH, "--listen", f"127.0.0.1:{cloud}"), ready="^cloud ready"),
        running(*python("gantry_agent", "run", "-c", str(site)), ready="ready: gantry"),
    ):

        def complete() -> list[dict[str, str]] | None:
            uploads = ask(f"http://127.0.0.1:{cloud}/uploads")
            both = uploads[-1]["payload"]["computerStatus"] if uploads else None
            return both if both and "NoData" not in both[1].values() else None

        here, there = eventually(complete, 40, "a whole reading of snmpd")
        assert not [one for one in ask(f"http://127.0.0.1:{cloud}/uploads") if one["complaints"]]
    assert int(there["memorySize"]) == pytest.approx(psutil.virtual_memory().total / 1024, rel=0.01)
    assert int(there["sysDiskSize"]) == pytest.approx(psutil.disk_usage("/").total / 1024, rel=0.02)
    disk = psutil.disk_usage("/")  # hrStorage counts against the whole disk, df and psutil against what users may fill
    assert float(there["sysDiskUsage"]) == pytest.approx(100 * disk.used / disk.total, abs=1)
    assert float(here["sysDiskUsage"]) == pytest.approx(disk.percent, abs=1)
    assert float(there["memoryUsage"]) == pytest.approx(float(here["memoryUsage"]), abs=8)
    assert 0 <= float(there["cpuUsage"]) <= 100
    assert 0 <= float(there["netUsage"]) <= 100
    assert there["ip"] == "127.0.0.1"
