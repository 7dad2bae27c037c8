"""`wijkpols volunteers`: leaflets with codes that work, and the way back for who lost everything but the band."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import pytest

import wijkpols
from api.app import Registry, registry_from_settings
from api.ledger import Enrolment
from contracts.wire import Erasure
from tests.api_support import BAND_KEY, CHOICES


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIJKPOLS_REGISTRY_URL", f"sqlite:///{tmp_path}/registry.sqlite")
    monkeypatch.setenv("WIJKPOLS_BAND_KEY", BAND_KEY)
    monkeypatch.setenv("WIJKPOLS_PUBLIC_URL", "https://wijkpols.example")
    monkeypatch.setenv("WIJKPOLS_CONTROLLER_NAME", "Gemeente <Utrecht> & omstreken")


def run(*words: str) -> int:
    return wijkpols.main(["volunteers", *words])


def texts_of(pdf: Path) -> str:
    """What the pages of one of our PDFs write, line by line."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf.read_bytes(), re.DOTALL):
        try:
            content = zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>")))
        except (ValueError, zlib.error):
            continue
        found += re.findall(rb"\((.*?)(?<!\\)\) Tj", content)
    return b"\n".join(found).decode("latin-1")


def enrolment_of(registry: Registry, code: str) -> Enrolment:
    return registry.ledger.enrol(code, district="WK034403", adult=True, language="nl", choices=CHOICES)


def enrol(registry: Registry, code: str) -> str:
    return enrolment_of(registry, code).record.principal_id


def test_each_leaflet_has_a_code_that_works_and_says_what_matters(tmp_path: Path) -> None:
    pdf = tmp_path / "folders.pdf"
    assert run("invite", "-n", "3", "--district", "WK034403", "--pdf", str(pdf)) == 0
    assert oct(pdf.stat().st_mode)[-3:] == "600"
    text = texts_of(pdf)
    codes = re.findall(r"[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}-[A-Z2-7]{4}", text)
    assert len(codes) == len(set(codes)) == 3
    assert text.count("Overvecht") == 3
    assert "18 jaar of ouder" in text
    assert "WP-000003" in text
    registry = registry_from_settings()
    assert all(registry.ledger.claimable(code) for code in codes)


def test_new_bands_get_the_next_free_serial_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry_from_settings().ledger.add_band("WP-000002")
    assert run("invite", "-n", "2", "--district", "WK034403", "--pdf", str(tmp_path / "a.pdf")) == 0
    assert "WP-000001 to WP-000003" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("-n", "0"), 2),
        (("-n", "1001"), 2),
        ((), 2),
        (("-n", "1", "--serials", "WP-7"), 2),
        (("--serials", "WP-7", "WP-7"), 2),
    ],
)
def test_a_wrong_invitation_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int
) -> None:
    assert run("invite", *words, "--district", "WK034403", "--pdf", str(tmp_path / "a.pdf")) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "a.pdf").exists()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("invite", "-n", "1", "--district", "WK034403", "--pdf", str(tmp_path / "no" / "a.pdf")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_unknown_district_invites_nobody(tmp_path: Path) -> None:
    assert run("invite", "-n", "1", "--district", "WK999999", "--pdf", str(tmp_path / "a.pdf")) == 2
    assert registry_from_settings().bands.new_serials(1) == ["WP-000001"]


def test_who_has_only_the_band_left_is_stopped_erased_and_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    registry = registry_from_settings()
    enrolment = enrolment_of(registry, registry.ledger.add_band("WP-000001"))
    old = enrolment.record.principal_id
    assert run("release", "WP-000001") == 1  # not while somebody wears it
    assert run("stop", "WP-000001", "--erase") == 0
    assert run("release", "WP-000001") == 1  # nor before the broker heard and the store erased
    for token, message in registry.outbox.unsent():
        registry.outbox.mark_sent([(token, message.revision)])
    asked = registry.ledger.erasures(old)[0]
    done = Erasure(
        revision=asked.revision, readings=1, reports=0, asked_at=asked.asked_at, erased_at=asked.asked_at + 1
    )
    assert registry.ledger.record_erasure(old, done)
    capsys.readouterr()
    assert registry.ledger.pseudonym_of(enrolment.bearer) == old
    assert run("release", "WP-000001") == 0
    assert registry.ledger.pseudonym_of(enrolment.bearer) is None
    code = capsys.readouterr().out.split()[1]
    assert registry.ledger.wearer_of(code) is None
    new = enrol(registry, code)
    assert new != old
    assert registry.ledger.verify() is None
    assert [entry.role for entry in registry.access_log.own(old)] == ["staff"]


def test_stopping_a_band_that_nobody_wears_is_a_fault() -> None:
    assert run("stop", "WP-000009") == 1
