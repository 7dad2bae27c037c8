"""E-mail addresses sealed at rest, keys that change, and one reminder by SMTP or Maildir; no header gets in."""

from __future__ import annotations

import email
import email.policy
import mailbox
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text

import wijkpols
from api.addresses import Addresses, valid_address
from api.app import Registry
from api.pages.letter import reminder
from api.post import open_post
from api.reminders import Reminded, remind
from api.tables import ADDRESSES
from contracts.ports import Fault, UsageFault
from tests.api_support import BAND_KEY, CHOICES, NOW, ManualClock, settings_for
from tests.registrykit.databases import url_of

pytestmark = pytest.mark.usefixtures("database")
ADDRESS = "jan.jansen@voorbeeld.nl"


@pytest.fixture
def addresses(registry: Registry, tmp_path: Path) -> Addresses:
    found = Addresses(registry.engine, key_file=tmp_path / "email-key")
    assert found.change_key() == 0
    return found


def enrolled(registry: Registry, serial: str = "WP-000001") -> str:
    code = registry.ledger.add_band(serial)
    done = registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)
    return done.record.principal_id


def kept(registry: Registry) -> list[str]:
    with registry.engine.connect() as connection:
        return list(connection.scalars(select(ADDRESSES.c.sealed)))


def test_an_address_is_kept_sealed_and_the_key_is_not_in_the_database(
    registry: Registry, addresses: Addresses, tmp_path: Path
) -> None:
    person = enrolled(registry)
    addresses.keep(person, "eerst@voorbeeld.nl")
    addresses.keep(person, ADDRESS)
    assert addresses.of(person) == ADDRESS
    (sealed,) = kept(registry)
    assert "jansen" not in sealed
    assert oct((tmp_path / "email-key").stat().st_mode)[-3:] == "600"
    (tmp_path / "email-key").rename(tmp_path / "stolen")
    with pytest.raises(UsageFault):
        addresses.of(person)
    (tmp_path / "email-key").write_text("no key\n")
    with pytest.raises(UsageFault, match="email-key"):
        addresses.of(person)
    addresses.forget(person)
    assert kept(registry) == []


def test_a_changed_key_seals_everything_again_and_the_oldest_key_goes(
    registry: Registry, addresses: Addresses, tmp_path: Path
) -> None:
    one, two = enrolled(registry), enrolled(registry, "WP-000002")
    for person in (one, two):
        addresses.keep(person, ADDRESS)
    before, first_key = set(kept(registry)), (tmp_path / "email-key").read_text()
    assert addresses.change_key() == 2
    assert before.isdisjoint(kept(registry))
    assert addresses.of(one) == addresses.of(two) == ADDRESS
    newest = (tmp_path / "email-key").read_text().split()[0]
    (tmp_path / "email-key").write_text(newest)  # the new key alone opens all
    assert addresses.of(two) == ADDRESS
    addresses.change_key()
    addresses.change_key()
    assert len((tmp_path / "email-key").read_text().split()) == 2
    assert first_key.strip() not in (tmp_path / "email-key").read_text()
    assert addresses.of(one) == ADDRESS


def test_who_has_everything_erased_leaves_no_address_behind(registry: Registry, addresses: Addresses) -> None:
    person = enrolled(registry)
    addresses.keep(person, ADDRESS)
    registry.ledger.withdraw(person, erase=False)
    assert len(kept(registry)) == 1
    registry.ledger.withdraw(person, erase=True)
    assert kept(registry) == []


@pytest.mark.parametrize(
    "bad",
    [
        "", "jan", "jan@", "@voorbeeld.nl", "jan@voorbeeld", "a b@voorbeeld.nl", "jan@voor beeld.nl",
        "j@n@voorbeeld.nl",
        "jan@voorbeeld.nl\nBcc: iedereen@voorbeeld.nl", "jan@voorbeeld.nl\r\nSubject: x", "jan@voorbeeld.nl\0",
        "jan@voorbeeld.nl, piet@voorbeeld.nl", "Jan <jan@voorbeeld.nl>", "<jan@voorbeeld.nl>", '"jan"@voorbeeld.nl',
        "jan(hoi)@voorbeeld.nl", "jan@[127.0.0.1]", "jån@voorbeeld.nl", "a" * 250 + "@voorbeeld.nl",
        "jan@voorbeeld.nl;x",
        "=?utf-8?q?jan?=@voorbeeld.nl\n", "jan\x7f@voorbeeld.nl", "..@..",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(bad: str) -> None:
    assert not valid_address(bad)


def test_plain_addresses_are_taken() -> None:
    assert all(valid_address(good) for good in (ADDRESS, "a+b@x.example", "o'brien_1@sub.voorbeeld.nl"))


def test_nothing_that_slipped_through_becomes_a_header(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, controller_name="Gemeente\nBcc: iedereen@voorbeeld.nl")
    letter = reminder(ADDRESS, valid_until=NOW, language="nl", settings=settings)
    read = email.message_from_bytes(letter.as_bytes(), policy=email.policy.default)
    assert "Bcc" not in read
    assert read["To"] == ADDRESS
    with pytest.raises(ValueError, match=r"."):
        reminder("jan@voorbeeld.nl\nBcc: x@voorbeeld.nl", valid_until=NOW, language="nl", settings=settings)


def test_a_reminder_goes_once_for_each_end_of_consent_and_only_to_who_takes_part(
    registry: Registry, addresses: Addresses, clock: ManualClock, tmp_path: Path
) -> None:
    one, two, three = (enrolled(registry, f"WP-00000{n}") for n in (1, 2, 3))
    for person in (one, two, three):
        addresses.keep(person, f"{person[:5]}@voorbeeld.nl")
    registry.ledger.withdraw(two, erase=False)
    settings, box = settings_for(tmp_path), tmp_path / "post"

    def run() -> Reminded:
        with open_post(f"maildir://{box}") as send:
            return remind(addresses=addresses, renewals=registry.renewals, settings=settings, send=send)

    assert run() == (0, 0)  # half a year is not over yet
    until = registry.ledger.current(one).valid_until
    clock.time = until - 29 * 86_400
    assert run() == (2, 0)
    assert run() == (0, 0)
    registry.ledger.change(one, CHOICES)
    assert run() == (0, 0)
    clock.time = registry.ledger.current(one).valid_until - 5
    assert run() == (1, 0)  # the other one's consent is over by now
    letters = [email.message_from_bytes(bytes(m), policy=email.policy.default) for m in mailbox.Maildir(box)]
    assert sorted(letter["To"] for letter in letters) == sorted([f"{p[:5]}@voorbeeld.nl" for p in (one, one, three)])
    for letter in letters:
        body = letter.get_content()
        assert "kies opnieuw" in body
        assert not any(person in letter.as_string() for person in (one, two, three))
        assert letter["Auto-Submitted"] == "auto-generated"


class _Smtp(socketserver.StreamRequestHandler):
    """A mail server that takes letters for everybody but `nobody@…`."""

    server: _SmtpServer

    def handle(self) -> None:
        self.say("220 tests")
        while line := self.rfile.readline():
            word = line.split(b":")[0].split()[0].upper()
            if word == b"RCPT" and b"nobody@" in line:
                self.say("550 not here")
            elif word == b"DATA":
                self.say("354 go on")
                letter = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    letter += part
                self.server.letters.append(letter)
                self.say("250 taken")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _SmtpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    letters: list[bytes]


@pytest.fixture
def smtp() -> Iterator[_SmtpServer]:
    with _SmtpServer(("127.0.0.1", 0), _Smtp) as server:
        server.letters = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_by_smtp_a_refused_letter_is_tried_again_and_others_go_on(
    registry: Registry, addresses: Addresses, clock: ManualClock, tmp_path: Path, smtp: _SmtpServer
) -> None:
    one, two = enrolled(registry), enrolled(registry, "WP-000002")
    addresses.keep(one, "nobody@voorbeeld.nl")
    addresses.keep(two, ADDRESS)
    clock.time = registry.ledger.current(one).valid_until - 86_400
    for expected in ((1, 1), (0, 1)):
        with open_post(f"smtp://127.0.0.1:{smtp.server_address[1]}") as send:
            settings = settings_for(tmp_path)
            assert remind(addresses=addresses, renewals=registry.renewals, settings=settings, send=send) == expected
    assert len(smtp.letters) == 1
    assert b"To: " + ADDRESS.encode() in smtp.letters[0]


def test_a_mail_server_that_is_away_and_a_wrong_url_are_said_without_the_password(tmp_path: Path) -> None:
    secret = "smtps://me:geheim@127.0.0.1:1"
    with pytest.raises(Fault) as away, open_post(secret):
        pass
    with pytest.raises(UsageFault) as wrong, open_post("http://me:geheim@x"):
        pass
    assert "geheim" not in f"{away.value}{wrong.value}"
    letter = reminder(ADDRESS, valid_until=NOW, language="en", settings=settings_for(tmp_path))
    with open_post("maildir:///proc/none") as send, pytest.raises(Fault):
        send(letter)


def test_the_commands_make_a_key_and_send_what_is_due(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", url_of(tmp_path))
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    assert wijkpols.main(["volunteers", "remind"]) == 2
    assert wijkpols.main(["volunteers", "email-key"]) == 2
    monkeypatch.setenv("WIJKPOLS_EMAIL_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("WIJKPOLS_POST_URL", f"maildir://{tmp_path}/post")
    assert wijkpols.main(["volunteers", "email-key"]) == 0
    Addresses(registry.engine, key_file=tmp_path / "key").keep(enrolled(registry), ADDRESS)
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE addresses SET reminded_for = NULL"))
    assert wijkpols.main(["volunteers", "remind"]) == 0
    told = capsys.readouterr()
    assert "reminders sent" in told.out
    assert "voorbeeld" not in told.out + told.err
