"""Letters go out by SMTP, or into a Maildir that another program empties. No log says to whom."""

from __future__ import annotations

import contextlib
import mailbox
import smtplib
import ssl
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from contracts.ports import Fault, UsageFault

_SECONDS: Final = 20.0
_PORTS: Final = {"smtp": 587, "smtps": 465}
_FORMS: Final = "smtps://USER:PASSWORD@HOST, smtp://HOST (with STARTTLS) or maildir:///FOLDER"

Send = Callable[[EmailMessage], bool]


@contextlib.contextmanager
def open_post(url: str) -> Iterator[Send]:
    """What sends one letter; False when this one was refused. Raises Fault or UsageFault, without the password."""
    parsed = urlsplit(url)
    if parsed.scheme == "maildir" and parsed.path:
        yield _maildir(parsed.path)
    elif parsed.scheme in _PORTS and parsed.hostname:
        try:
            with _smtp(parsed) as server:
                yield lambda letter: _sent(server, letter)
        except (OSError, smtplib.SMTPException) as fault:
            raise Fault(f"the mail server cannot be used ({type(fault).__name__}): see WIJKPOLS_POST_URL") from None
    else:
        raise UsageFault(f"WIJKPOLS_POST_URL is none of {_FORMS}")


def _smtp(url: SplitResult) -> smtplib.SMTP:
    host, port = str(url.hostname), url.port or _PORTS[url.scheme]
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=ssl.create_default_context())
    else:
        server = smtplib.SMTP(host, port, timeout=_SECONDS)
        if host not in ("localhost", "127.0.0.1", "::1"):  # an address goes over no wire in the clear
            server.starttls(context=ssl.create_default_context())
    if url.username:
        server.login(unquote(url.username), unquote(url.password or ""))
    return server


def _sent(server: smtplib.SMTP, letter: EmailMessage) -> bool:
    try:
        server.send_message(letter)
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused):
        return False
    return True


def _maildir(folder: str) -> Send:
    def send(letter: EmailMessage) -> bool:
        try:
            mailbox.Maildir(folder).add(letter)
        except OSError as fault:
            raise Fault(f"the folder of WIJKPOLS_POST_URL cannot be written: {fault.strerror}") from None
        return True

    return send
