"""The site file: YAML → Config, strict, every fault at once with its line and column."""

from gantry_agent.config.site import CloudSettings, Config, read_config

__all__ = ["CloudSettings", "Config", "read_config"]
