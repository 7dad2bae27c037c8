"""The one letter that is ever sent: consent ends soon."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage

from api.notices import Language
from api.pages.words import Words
from api.settings import Settings


def reminder(address: str, *, valid_until: int, language: Language, settings: Settings) -> EmailMessage:
    """A reminder. It says neither who takes part nor what was chosen; header values go in as values, never as text."""
    t, letter = Words(language), EmailMessage()
    letter["Subject"] = t("mail.subject")
    letter["From"] = settings.contact_email
    letter["To"] = Address(addr_spec=address)
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answering machine answers
    day = t.day_at(valid_until)
    letter.set_content(t("mail.text", day=day, url=settings.public_url, controller=settings.controller_name))
    return letter
