"""Hypothesis judges what the code does, not how long a shared machine took for it: time limits are pytest's."""

from hypothesis import settings

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
