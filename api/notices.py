"""What a volunteer reads before choosing: one file per language, with a version and a hash that each record keeps.

A file begins with lines `version: …`, `holds: …` (earlier versions to which a yes still counts, because nothing
changed for people; none when left out) and `changed: …` (what changed, in a sentence or two), then a blank line and the
text. The text's first part, up to its second heading of rank 2, is the short one.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

Language = Literal["nl", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
FOLDER: Final = Path(__file__).parent / "notices"

_HEAD = re.compile(r"version: (\S{1,20})\n(?:holds: (.+)\n)?(?:changed: (.+)\n)?\n?")


class Notice(NamedTuple):
    """A notice in one language. `sha256` is that of the whole file, first lines included."""

    language: Language
    version: str
    sha256: str
    text: str  # headings with '# ' and '## ', lists with '- ', paragraphs
    changed: str = ""  # since the version before

    @property
    def short(self) -> str:
        """The first layer."""
        return self._layers()[0]

    @property
    def full(self) -> str:
        """The second layer: what the short one leaves out."""
        return self._layers()[1]

    def _layers(self) -> tuple[str, str]:
        parts = self.text.split("\n## ", 2)
        return ("\n## ".join(parts[:2]), f"## {parts[2]}" if len(parts) == 3 else "")


class Notices:
    """The notices of an installation, read once."""

    def __init__(self, *, folder: Path = FOLDER) -> None:
        read = {language: _read(language, folder / f"{language}.md") for language in LANGUAGES}
        self._by_language = {language: notice for language, (notice, _) in read.items()}
        versions = {(notice.version, holds) for notice, holds in read.values()}
        if len(versions) != 1:
            raise ValueError("the notices of all languages must have one version, and hold the same earlier ones")
        self._holds = versions.pop()[1]

    @property
    def version(self) -> str:
        """The version of the notice, the same in each language."""
        return self._by_language["nl"].version

    @property
    def holding(self) -> frozenset[str]:
        """The versions to which a yes counts now."""
        return self._holds | {self.version}

    def of(self, language: Language) -> Notice:
        """The notice in this language."""
        return self._by_language[language]


def _read(language: Language, path: Path) -> tuple[Notice, frozenset[str]]:
    content = path.read_bytes()
    text = content.decode()
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"{path.name} must begin with a line 'version: …'")
    notice = Notice(language, head[1], hashlib.sha256(content).hexdigest(), text[head.end() :], head[3] or "")
    return notice, frozenset((head[2] or "").split())
