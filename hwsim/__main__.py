"""`python -m hwsim`: a gantry and a cloud in software. Three commands, each loaded only when it is asked for."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "the hardware of a site file at its addresses",
    "cloud": "a strict simulated cloud",
    "demo": "devices, cloud and agent together, with a tour",
}


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m hwsim", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    asked = words[0] if words and words[0] in COMMANDS else None
    try:
        module = importlib.import_module(f"hwsim.{asked}") if asked else None
    except ModuleNotFoundError as missing:
        if missing.name != "pymodbus":
            raise
        print("hwsim: cannot simulate Modbus without pymodbus: pip install 'gantry-agent[sim]'", file=sys.stderr)
        return 1
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == asked and module:
            module.add_arguments(command)
    args = parser.parse_args(words)
    return int(module.main(args) or 0) if module else 2


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load; each command then has its own way
    sys.exit(main(sys.argv[1:]))
