"""What a product that is asked by commands is to the simulator: Megatec, YD/T 1363, a meter, a lock, a monitor. Pure.

A question gives `Spoken`: what is said, and what it does to the device and the plant. No frame and no checksum here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from hwsim.devices.image import Effect, Seen

# RTN of YD/T 1363 (tables §1.6)
OK, UNKNOWN_VERSION, UNKNOWN_CID2, WRONG_FORMAT, INVALID_DATA = 0x00, 0x01, 0x04, 0x05, 0x06


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a command gets. `body` is None where nothing is said; `code` is the RTN of YD/T 1363."""

    body: bytes | None = None
    effect: Effect = field(default_factory=Effect)
    code: int = OK


@dataclass(frozen=True, slots=True)
class MegatecProduct:
    """`answer(seen, command)`, both without CR. `shown` are the questions that only ask."""

    answer: Callable[[Seen, str], Spoken]
    shown: tuple[str, ...]
    response_s: float = 0.05


@dataclass(frozen=True, slots=True)
class YdtProduct:
    """`answer(seen, cid1, cid2, info)`: the INFO of the answer. `shown` are the questions that only ask."""

    answer: Callable[[Seen, int, int, bytes], Spoken]
    shown: tuple[tuple[int, int], ...]
    versions: tuple[int, ...] = (0x20, 0x21, 0x22)
    response_s: float = 0.04


@dataclass(frozen=True, slots=True)
class LockProduct:
    """`answer(seen, signal, data)`: what follows the signal in the answer; a command is obeyed in silence."""

    answer: Callable[[Seen, int, bytes], Spoken]
    shown: tuple[int, ...]
    response_s: float = 0.02


@dataclass(frozen=True, slots=True)
class MeterProduct:
    """`answer(seen, item)`: the item's bytes, lowest first; nothing said is "no such data"."""

    answer: Callable[[Seen, int], Spoken]
    shown: tuple[int, ...]
    response_s: float = 0.05


@dataclass(frozen=True, slots=True)
class BoardProduct:
    """A Zhongpu Tongan board; `inputs(seen)`: the eight bytes of its answer."""

    inputs: Callable[[Seen], bytes]
    response_s: float = 0.02


@dataclass(frozen=True, slots=True)
class DatagramProduct:
    """A Huazi monitor, asked over UDP; `answer(seen, command)`: what follows the head, None where nothing is said."""

    answer: Callable[[Seen, int], bytes | None]
    shown: tuple[int, ...]


SpokenProduct = MegatecProduct | YdtProduct | LockProduct | MeterProduct | BoardProduct | DatagramProduct


def shown(product: SpokenProduct, seen: Seen) -> dict[str, str]:
    """What the product says to every question that only asks: text, or INFO in hexadecimal."""
    if isinstance(product, MegatecProduct):
        return {command: (product.answer(seen, command).body or b"").decode("ascii") for command in product.shown}
    if isinstance(product, MeterProduct):
        return {f"{item:08X}": (product.answer(seen, item).body or b"").hex() for item in product.shown}
    if isinstance(product, BoardProduct):
        return {"inputs": product.inputs(seen).hex()}
    if isinstance(product, DatagramProduct):
        return {f"{command:02X}": (product.answer(seen, command) or b"").hex() for command in product.shown}
    if isinstance(product, LockProduct):
        return {f"{signal:04X}": (product.answer(seen, signal, b"").body or b"").hex() for signal in product.shown}
    return {f"{a:02X}/{b:02X}": (product.answer(seen, a, b, b"").body or b"").hex() for a, b in product.shown}
