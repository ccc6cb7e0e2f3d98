"""A Linux toll computer as net-snmp shows it: HOST-RESOURCES, UCD-SNMP, IF-MIB, LM-SENSORS (tables §11).

Rows and indexes follow the recordings of full Linux hosts: processors from 196608, physical memory row 1, disks by
mount point. Paths and the interface come from the site file's computer.
"""

from hwsim.devices.image import Seen
from hwsim.devices.oids import Cell, SnmpProduct, gauge, integer, system, text
from hwsim.plant.host import Host

STORAGE = "1.3.6.1.2.1.25.2.3.1"
TYPES = "1.3.6.1.2.1.25.2.1"
PROCESSOR, PROCESSOR_ROW = "1.3.6.1.2.1.25.3.3.1", 196608
UCD = "1.3.6.1.4.1.2021"
SENSORS = f"{UCD}.13.16.2.1"
IF, IF_X = "1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"
BLOCK = 4096


def table(seen: Seen) -> dict[str, Cell]:
    host = seen.host or Host()
    cells = system("Linux toll-pc 5.10.0 #1 SMP x86_64", "1.3.6.1.4.1.8072.3.2.10", "toll-pc", host.t + 72735.0)
    cells["1.3.6.1.2.1.25.1.1.0"] = Cell("ticks", int((host.t + 72735.0) * 100) % 2**32)
    return cells | _storage(seen, host) | _processors(host) | _ucd(host) | _interfaces(seen, host) | _sensors(host)


def _storage(seen: Seen, host: Host) -> dict[str, Cell]:
    used_kb = host.memory_kb * host.memory_used_percent / 100
    rows = {
        1: (
            f"{TYPES}.2",
            "Physical memory",
            1024,
            host.memory_kb,
            used_kb + host.memory_kb * 0.2,
        ),  # with buffers, cache
        3: (f"{TYPES}.3", "Virtual memory", 1024, host.memory_kb * 2, used_kb),
        6: (f"{TYPES}.1", "Memory buffers", 1024, host.memory_kb, host.memory_kb * 0.05),
        7: (f"{TYPES}.1", "Cached memory", 1024, host.memory_kb * 0.15, host.memory_kb * 0.15),
        31: (f"{TYPES}.4", "/run", BLOCK, 202720, 150),
    }
    for row, (key, default, size, percent) in enumerate(
        (
            ("sys_disk", "/", host.sys_disk_bytes, host.sys_disk_percent),
            ("data_disk", "/data", host.data_disk_bytes, host.data_disk_percent),
        ),
        36,
    ):
        path = str(seen.parameters.get(key, default))
        rows[row] = (f"{TYPES}.4", path, BLOCK, size // BLOCK, size / BLOCK * percent / 100)
    cells: dict[str, Cell] = {}
    for row, (kind, name, unit, total, used) in rows.items():
        cells |= {
            f"{STORAGE}.1.{row}": integer(row),
            f"{STORAGE}.2.{row}": Cell("oid", kind),
            f"{STORAGE}.3.{row}": text(name),
            f"{STORAGE}.4.{row}": integer(unit),
            f"{STORAGE}.5.{row}": integer(total),
            f"{STORAGE}.6.{row}": integer(used),
        }
    return cells


def _processors(host: Host) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for k in range(host.processors):
        cells[f"{PROCESSOR}.1.{PROCESSOR_ROW + k}"] = Cell("oid", "0.0")
        cells[f"{PROCESSOR}.2.{PROCESSOR_ROW + k}"] = integer(host.cpu_percent)
    return cells


def _ucd(host: Host) -> dict[str, Cell]:
    used_kb = host.memory_kb * host.memory_used_percent / 100
    buffers, cached = host.memory_kb * 0.05, host.memory_kb * 0.15
    ticks = {50: host.busy_ticks * 0.7, 51: 0.0, 52: host.busy_ticks * 0.3, 53: host.idle_ticks, 54: 5736.0}
    return {
        f"{UCD}.4.3.0": integer(4194304),
        f"{UCD}.4.4.0": integer(4194304),
        f"{UCD}.4.5.0": integer(host.memory_kb),
        f"{UCD}.4.6.0": integer(host.memory_kb - used_kb - buffers - cached),
        f"{UCD}.4.14.0": integer(buffers),
        f"{UCD}.4.15.0": integer(cached),
        f"{UCD}.11.9.0": integer(host.cpu_percent * 0.7),
        f"{UCD}.11.10.0": integer(host.cpu_percent * 0.3),
        f"{UCD}.11.11.0": integer(100 - host.cpu_percent),
        **{f"{UCD}.11.{n}.0": Cell("counter", int(count) % 2**32) for n, count in ticks.items()},
    }


def _interfaces(seen: Seen, host: Host) -> dict[str, Cell]:
    nic = str(seen.parameters.get("nic", "eth0"))
    rows = {1: ("lo", 10, 19_336_310_791, 19_336_310_791), 2: (nic, host.link_mbps, host.octets_in, host.octets_out)}
    cells: dict[str, Cell] = {"1.3.6.1.2.1.2.1.0": integer(len(rows))}
    for row, (name, mbps, octets_in, octets_out) in rows.items():
        cells |= {
            f"{IF}.1.{row}": integer(row),
            f"{IF}.2.{row}": text(name),
            f"{IF}.5.{row}": gauge(mbps * 1_000_000),
            f"{IF}.7.{row}": integer(1),
            f"{IF}.8.{row}": integer(1),
            f"{IF}.10.{row}": Cell("counter", octets_in % 2**32),
            f"{IF}.16.{row}": Cell("counter", octets_out % 2**32),
            f"{IF_X}.1.{row}": text(name),
            f"{IF_X}.6.{row}": Cell("counter64", octets_in),
            f"{IF_X}.10.{row}": Cell("counter64", octets_out),
            f"{IF_X}.15.{row}": gauge(mbps),
        }
    return cells


def _sensors(host: Host) -> dict[str, Cell]:
    cells: dict[str, Cell] = {}
    for row, name in enumerate(("Physical id 0", "Core 0"), 1):
        cells[f"{SENSORS}.1.{row}"] = integer(row)
        cells[f"{SENSORS}.2.{row}"] = text(name)
        cells[f"{SENSORS}.3.{row}"] = gauge(host.cpu_c * 1000)
    return cells


HOST = SnmpProduct(table)
