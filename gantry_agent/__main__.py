"""`python -m gantry_agent` is `gantry-agent`."""

import sys

from gantry_agent.cli import main

if __name__ == "__main__":
    sys.exit(main())
