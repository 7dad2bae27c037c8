"""What a volunteer reads before choosing: one file per language, with a version and a hash that each record keeps."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

Language = Literal["nl", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
FOLDER: Final = Path(__file__).parent / "notices"

_VERSION = re.compile(r"version: (\S+)\n\n?")


class Notice(NamedTuple):
    """A notice in one language. `sha256` is that of the whole file, version line included."""

    language: Language
    version: str
    sha256: str
    text: str  # headings with '# ' and '## ', lists with '- ', paragraphs


class Notices:
    """The notices of an installation, read once."""

    def __init__(self, *, folder: Path = FOLDER) -> None:
        self._by_language = {language: _read(language, folder / f"{language}.md") for language in LANGUAGES}
        versions = {notice.version for notice in self._by_language.values()}
        if len(versions) != 1:
            raise ValueError("the notices of all languages must have one version")

    @property
    def version(self) -> str:
        """The version of the notice, the same in each language."""
        return self._by_language["nl"].version

    def of(self, language: Language) -> Notice:
        """The notice in this language."""
        return self._by_language[language]


def _read(language: Language, path: Path) -> Notice:
    content = path.read_bytes()
    text = content.decode()
    first = _VERSION.match(text)
    if first is None:
        raise ValueError(f"{path.name} must begin with a line 'version: …'")
    return Notice(language, first[1], hashlib.sha256(content).hexdigest(), text[first.end() :])
