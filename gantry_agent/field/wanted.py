"""Which of a product's points one device is there for.

A device fills the fields of its roles and what the site maps to its generic points; a point that feeds neither is not
read. Names here carry no instance: what is wanted of one row or module is wanted of all.
"""

from gantry_agent.field.product import Profile, read_name
from gantry_agent.field.profile_links import derived_by_name, plain, used_by_derived, used_by_when
from gantry_agent.model import Device
from gantry_agent.vocabulary import WARNING_FIELD


def skipped(device: Device, member: str, field: str) -> bool:
    """Whether the site does not want this field of this device."""
    return member in device.skip or f"{member}.{field}" in device.skip


def wanted(profile: Profile, device: Device) -> frozenset[str]:
    """Names of the points and derived values that are needed, directly or by what is made of them."""
    waiting = [
        f"{member}.{field}"
        for member, numbers in device.roles.items()
        if numbers
        for field in profile.provides(member)
        if not skipped(device, member, field)
    ]
    waiting += [mapped.point for mapped in device.mapping.values()]
    waiting += device.watched | device.rows
    for warning in profile.warnings:
        if device.roles.get(warning.member) and not skipped(device, warning.member, WARNING_FIELD[warning.member]):
            waiting += used_by_when(warning.when)
    return _closed(waiting, profile)


def only_in_rows(profile: Profile, member: str) -> bool:
    """Whether all that is told of a member's fields stands in rows of tables."""
    waiting = [f"{member}.{field}" for field in profile.provides(member)]
    for warning in profile.warnings:
        if warning.member == member:
            waiting += used_by_when(warning.when)
    return _closed(waiting, profile).isdisjoint(plain(key) for key in profile.points)


def _closed(waiting: list[str], profile: Profile) -> frozenset[str]:
    """These names and all that they are made of."""
    derived = derived_by_name(profile)
    found: set[str] = set()
    while waiting:
        name = plain(waiting.pop())
        if name not in found:
            found.add(name)
            waiting += (used for one in derived.get(name, ()) for used in used_by_derived(one))
    return frozenset(found)


def in_roles(key: str, device: Device) -> bool:
    """Whether an instance of a list member has a role at this site; a local point always has."""
    name = read_name(key)
    if name is None or not name.member or name.member not in device.roles:
        return True
    return (name.number or 1) <= len(device.roles[name.member])
