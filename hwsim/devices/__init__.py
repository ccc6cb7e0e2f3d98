"""The simulated products, by the profile names a site file uses. What each shows is written from the vendors' tables.

Nothing here is read from the agent's profiles: two independent readings of one table are what makes a wrong address
visible.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hwsim.devices import (
    access,
    aircon,
    apc,
    behind_monitor,
    breakers,
    chd,
    host,
    huaruan,
    locks,
    meters,
    modules,
    pdu,
    psu,
    q1,
    sensors,
    site_monitor,
    surge,
    ups2000,
    ups_mib,
    voltronic,
    zte,
)
from hwsim.devices.access import AccessProduct
from hwsim.devices.image import Effect, ModbusProduct, Seen
from hwsim.devices.oids import SnmpProduct
from hwsim.devices.spoken import SpokenProduct
from hwsim.devices.zte import ZteProduct

Product = ModbusProduct | SnmpProduct | SpokenProduct | AccessProduct | ZteProduct

PRODUCTS: Mapping[str, Product] = MappingProxyType(
    {
        "chint-dtsu666": meters.DTSU666,
        "chint-ddsu666": meters.DDSU666,
        "dlt645-meter": meters.DLT645,
        "eastron-sdm120": meters.SDM120,
        "eastron-sdm630": meters.SDM630,
        "envicool-cabinet-ac": aircon.ENVICOOL,
        "huaruan-cabinet-ac": huaruan.HUARUAN,
        "renda-breaker": breakers.MODULE,
        "renda-recloser": breakers.RECLOSER,
        "lx47le-breaker": breakers.LX47LE,
        "xy-md02": sensors.XY_MD02,
        "renda-temperature-humidity": sensors.TEMPERATURE_HUMIDITY,
        "renke-temperature-humidity": sensors.TEMPERATURE_HUMIDITY,
        "renda-water": sensors.WATER,
        "renda-smoke": sensors.SMOKE,
        "renda-spd": surge.RENDA_SPD,
        "leixun-spd": surge.LEIXUN,
        "kuanyong-spd": surge.KUANYONG,
        "wth-spd": surge.WTH,
        "leixun-ground-tester": surge.GROUND_TESTER,
        "zpta-spd": surge.TONGAN,
        "huazi-spd": surge.HUAZI,
        "moxa-iologik-e1212": modules.E1212,
        "moxa-iologik-e1214": modules.E1214,
        "waveshare-relay": modules.RELAY_BOARD,
        "huawei-ups2000": ups2000.UPS2000,
        "huawei-site-monitor": site_monitor.SITE_MONITOR,
        "huawei-dc-aircon": behind_monitor.DC_AIRCON,
        "huawei-lithium-battery": behind_monitor.LITHIUM,
        "ups-mib": ups_mib.UPS_MIB,
        "apc-modbus": apc.APC,
        "apc-pdu": pdu.APC_PDU,
        "iboot-pdu": pdu.IBOOT_PDU,
        "papouch-quido": pdu.QUIDO_MODULE,
        "teracom-tcw241": pdu.TCW241_MODULE,
        "megatec-q1": q1.Q1,
        "voltronic-qs": q1.QS,
        "voltronic": voltronic.VOLTRONIC,
        "ydt1363-psu": psu.PSU,
        "host-resources": host.HOST,
        "huawei-cabinet-lock": locks.HUAWEI_LOCK,
        "vertiv-chd2100j": chd.DOORS,
        "shengjiu-lock": locks.SHENGJIU,
        "uhppote-controller": access.CONTROLLER,
        "zte-temperature-humidity": zte.CLIMATE,
        "zte-water": zte.WATER,
        "zte-smoke": zte.SMOKE,
        "zte-door": zte.DOOR,
        "zte-air-conditioner": zte.AIR,
        "zte-rectifier": zte.POWER,
        "zte-ups": zte.UPS,
        "zte-lithium-battery": zte.BATTERY,
    }
)

# What a card does that is shown to a product that only reads.
READERS: Mapping[str, Callable[[Seen, int], Effect]] = MappingProxyType(
    {"huawei-cabinet-lock": locks.shown, "shengjiu-lock": locks.shown}
)

# Which products are one of several of a kind in a cabinet, and how the site file counts them.
INSTANCES: Mapping[str, str] = MappingProxyType(
    {
        "envicool-cabinet-ac": "airConditioners",
        "huawei-dc-aircon": "airConditioners",
        "huaruan-cabinet-ac": "airConditioners",
        "zte-air-conditioner": "airConditioners",
        "renda-spd": "thunderSpd",
        "leixun-spd": "thunderSpd",
        "kuanyong-spd": "thunderSpd",
        "wth-spd": "thunderSpd",
        "leixun-ground-tester": "thunderSpd",
        "zpta-spd": "thunderSpd",
        "huazi-spd": "thunderSpd",
    }
)
THREE_PHASE = frozenset({"chint-dtsu666", "dlt645-meter", "eastron-sdm630", "zte-rectifier"})
