"""What people read, in the two languages they read it in.

A `Text` is written once, at the place that knows what to say, with both languages side by side, and rendered where a
person reads it (command line, page). Words of the interface itself are not texts: they go on the wire as the source has
them. Logs are English.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence for people, in Chinese and in English."""

    zh: str
    en: str

    def render(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


def reader_language(environ: Mapping[str, str]) -> Language:
    """Tell which language the person at this terminal reads, by the POSIX order of the locale variables."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
