"""A toll computer: load, memory, disks, traffic. Pure, like the cabinet's plant, and as independent of any protocol."""

from dataclasses import dataclass, replace

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Host:
    """One Linux industrial PC. Ticks are hundredths of a second summed over its processors, as the kernel counts."""

    t: float = 0.0
    processors: int = 4
    cpu_percent: float = 12.0
    memory_kb: int = 8 * 1024 * 1024
    memory_used_percent: float = 40.0
    sys_disk_bytes: int = 120 * GIB
    sys_disk_percent: float = 35.0
    data_disk_bytes: int = 500 * GIB
    data_disk_percent: float = 55.0
    link_mbps: int = 1000
    net_percent: float = 1.5
    octets_in: int = 12_786_279_431
    octets_out: int = 8_480_552_710
    busy_ticks: float = 1_282_916.0
    idle_ticks: float = 41_011_200.0
    cpu_c: float = 48.0


def step_host(host: Host, dt: float) -> Host:
    octets = int(host.link_mbps * 125_000 * host.net_percent / 100.0 * dt)
    ticks = 100.0 * host.processors * dt
    busy = ticks * host.cpu_percent / 100.0
    return replace(
        host,
        t=host.t + dt,
        octets_in=host.octets_in + octets,
        octets_out=host.octets_out + octets // 3,
        busy_ticks=host.busy_ticks + busy,
        idle_ticks=host.idle_ticks + ticks - busy,
    )
