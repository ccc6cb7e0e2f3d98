"""gantry-agent: reads the cabinets of an ETC toll gantry, reports to the cloud and carries out its commands."""
