"""Bodies made by libFuzzer, which keeps those that reach new code: from the bytes to orders, without a socket.

`python tests/fuzz_guided.py [COUNT]`, a part of `make soak`. What holds for each is `check`, which hypothesis uses too
(tests/unit/test_fuzz_pure.py): a refusal that the interface knows, or orders that the site of `cloud_site` allows.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from cloud_site import GANTRY, NOW, SITE
from fuzz_bodies import (
    NAMES,
    SCALARS,
    SEEDS,
    TREE_CHANGES,
    Case,
    Raw,
    admissible,
    is_object,
    lawful,
    tree,
    written,
)

COUNT = 1_000_000
LONGEST = 2000


def check(body: bytes) -> str:
    """Read a body as the control port does; raise AssertionError for what must not be. Returns how it ended."""
    from gantry_agent.cloud import commands, protocol
    from gantry_agent.command import Refused

    request = protocol.check_request(body, GANTRY, NOW, 300.0)
    if isinstance(request, protocol.Refusal):
        return _refused(request.code, request.detail)
    assert admissible(Case(body, "", "", signed=True), NOW, 300.0)
    assert ascii(request.unknown + commands.unknown_members(request.method, request.business))
    assert commands.named(request.method, request.business).isascii()
    if request.method == "getCabinetImageVedio":
        query = commands.read_media_query(request.business, SITE)
        if isinstance(query, Refused):
            return _refused(protocol.Code.BAD_PARAMETER, query.field)
        assert query.cabinet in {1, 2}
        return "query"
    orders = commands.read_commands(request.method, request.business, SITE)
    if isinstance(orders, Refused):
        return _refused(protocol.Code.BAD_PARAMETER, orders.field)
    assert orders
    for order in orders:
        assert lawful(order), order
    return type(orders[0]).__name__


def _refused(code: str, detail: str) -> str:
    from gantry_agent.cloud import protocol

    answer = json.loads(protocol.answer(protocol.Code(code), detail))
    assert list(answer) == ["code", "msg"]
    assert answer["code"] in {"1002", "1003", "1006"}
    assert 0 < len(answer["msg"]) <= 40
    return answer["code"]


def seeds() -> list[bytes]:
    return [
        written(
            [
                ("gantryId", GANTRY),
                ("method", method),
                ("timeStamp", str(NOW)),
                ("version", "1001"),
                (method, tree(business)),
            ]
        ).encode()
        for method, business in SEEDS
    ]


def mutated(data: bytes, seed: int) -> bytes | None:
    """Change a body as a tree, or give None for one that is no JSON object."""
    fate = random.Random(seed)
    try:
        members = json.loads(data, object_pairs_hook=list, parse_int=Raw, parse_float=Raw)
    except (ValueError, RecursionError):
        return None
    if not is_object(members):
        return None
    for _ in range(fate.choice((1, 1, 2, 3))):
        members = fate.choice(TREE_CHANGES)(fate, members)
    try:
        return written(members).encode("utf-8", "surrogatepass")[:LONGEST]
    except RecursionError:
        return None


def main(words: list[str]) -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is made for Linux on x86_64 with Python 3.11 to 3.13 only: this part is left out here")
        return 0
    with atheris.instrument_imports(include=["gantry_agent.cloud.protocol", "gantry_agent.cloud.commands"]):
        from gantry_agent.cloud import commands, protocol  # noqa: F401 - instrumented as it is imported
    with tempfile.TemporaryDirectory() as folder:
        corpus, words_file = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for number, seed in enumerate(seeds()):
            (corpus / str(number)).write_bytes(seed)
        tokens = [*NAMES, *(one for one in SCALARS if isinstance(one, str) and 0 < len(one) < 60)]
        quoted = [json.dumps(one) if not isinstance(one, Raw) else str(one) for one in tokens]
        lines = ("".join(f"\\x{byte:02x}" for byte in one.encode()) for one in quoted)
        words_file.write_text("".join(f'"{line}"\n' for line in lines), encoding="ascii")
        count = words[0] if words else str(COUNT)
        limits = [f"-runs={count}", f"-max_len={LONGEST}", f"-dict={words_file}", "-timeout=10", "-print_final_stats=1"]

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            changed = mutated(data, seed) if seed % 2 else None
            return atheris.Mutate(data, len(data)) if changed is None else changed[:most]

        words = [sys.argv[0], *limits, f"-artifact_prefix={Path.cwd()}/", str(corpus)]
        atheris.Setup(words, check, custom_mutator=mutate)
        atheris.Fuzz()  # ends the process: 0, or 77 with the body that broke it in a file here
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
