"""`python -m hwsim`: a gantry and a cloud in software. Three commands, each loaded only when it is asked for."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from hwsim.terminal import Text, reader_language
from hwsim.usage import Parser

COMMANDS = {
    "run": Text("按配置文件中的地址仿真设备", "the hardware of a site file at its addresses"),
    "cloud": Text("严格的模拟云平台", "a strict simulated cloud"),
    "demo": Text("设备、平台、门架程序一起运行，带导览", "devices, cloud and agent together, with a tour"),
}
WHAT = Text("软件仿真的门架和云平台", "a gantry and a cloud in software")
NO_MODBUS = Text(
    "没有 pymodbus，不能仿真 Modbus：pip install 'gantry-agent[sim]'",
    "cannot simulate Modbus without pymodbus: pip install 'gantry-agent[sim]'",
)


def main(words: Sequence[str]) -> int:
    language = reader_language(os.environ)
    parser = Parser(prog="python -m hwsim", description=WHAT.render(language), language=language)
    commands = parser.add_subparsers(dest="command", required=True, metavar=parser.say("命令", "COMMAND"))
    asked = words[0] if words and words[0] in COMMANDS else None
    try:
        module = importlib.import_module(f"hwsim.{asked}") if asked else None
    except ModuleNotFoundError as missing:
        if missing.name != "pymodbus":
            raise
        print(f"hwsim: {NO_MODBUS.render(language)}", file=sys.stderr)
        return 1
    for name, text in COMMANDS.items():
        said = text.render(language)
        command = commands.add_parser(name, help=said, description=said, language=language)
        if name == asked and module:
            module.add_arguments(command)
    args = parser.parse_args(words)
    return int(module.main(args) or 0) if module else 2


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while the libraries load; each command then has its own way
    sys.exit(main(sys.argv[1:]))
