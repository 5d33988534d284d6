"""Tests of testbed.world.tls. They use no network."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from testbed.world import tls
from testbed.world.tls import AUTHORITY, CENTRE_ADDRESS, CERTIFICATE, KEY, Credentials, ensure_credentials


def ensure(cache: Path, said: list[str] | None = None) -> Credentials:
    """Ask for the credentials and collect what was said."""
    return ensure_credentials(cache, say=([] if said is None else said).append)


def snapshot(directory: Path) -> dict[str, bytes]:
    """Names and contents of all files."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_the_files_are_made_once(tmp_path: Path) -> None:
    """The second call changes nothing, says nothing and gives the same fingerprint; no work directory is left."""
    said: list[str] = []
    first = ensure(tmp_path / "new", said)
    files = snapshot(first.directory)
    assert "there were none" in said[0]
    assert ensure(tmp_path / "new", said) == first
    assert snapshot(first.directory) == files
    assert len(said) == 1
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"service-centre"}


def test_only_what_is_needed_is_kept(tmp_path: Path) -> None:
    """The authority's key is gone and the server's key is private."""
    made = ensure(tmp_path)
    assert set(snapshot(made.directory)) == {AUTHORITY, CERTIFICATE, KEY}
    assert stat.S_IMODE((made.directory / KEY).stat().st_mode) == 0o600


def test_the_certificate_is_small_backdated_and_for_the_address(tmp_path: Path) -> None:
    """It is valid since two days ago for ten years, names the address, and has an elliptic key."""
    made = x509.load_pem_x509_certificate((ensure(tmp_path).directory / CERTIFICATE).read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address(CENTRE_ADDRESS)]
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)
    assert made.not_valid_before_utc < datetime.now(UTC) - timedelta(days=1, hours=23)
    assert made.not_valid_after_utc > datetime.now(UTC) + timedelta(days=3600)


def cut_key(directory: Path) -> None:
    """Truncate the key."""
    (directory / KEY).write_text("-----BEGIN")


def remove_authority(directory: Path) -> None:
    """Remove the authority."""
    (directory / AUTHORITY).unlink()


def open_key(directory: Path) -> None:
    """Let everybody read the key."""
    (directory / KEY).chmod(0o644)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(cut_key, "did not work"), (remove_authority, "authority.pem was missing"), (open_key, "read by other users")],
)
def test_spoilt_files_are_made_again_with_a_message(
    credentials_cache: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    """The set is replaced as a whole, the reason is told and the fingerprint is new."""
    old = ensure(credentials_cache)
    spoil(old.directory)
    said: list[str] = []
    new = ensure(credentials_cache, said)
    assert len(said) == 1
    assert reason in said[0]
    assert new.fingerprint != old.fingerprint
    assert ensure(credentials_cache) == new
    assert {path.name for path in credentials_cache.iterdir()} == {"service-centre"}


def test_another_address_needs_another_certificate(tmp_path: Path) -> None:
    """A certificate for the wrong address counts as unusable."""
    old = ensure(tmp_path)
    new = ensure_credentials(tmp_path, address="10.77.0.5", say=lambda _: None)
    assert new.fingerprint != old.fingerprint


def test_callers_at_once_get_the_same_set(tmp_path: Path) -> None:
    """Whoever publishes first wins; all see one fingerprint."""

    async def main() -> list[Credentials]:
        return await asyncio.gather(*(asyncio.to_thread(ensure, tmp_path) for _ in range(3)))

    made = asyncio.run(main())
    assert len({item.fingerprint for item in made}) == 1
    assert ensure(tmp_path) == made[0]


def test_nobody_replaces_what_was_just_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two callers have seen that there is nothing; if both came to publish, each would wait here for the other."""
    meet, publish, published = threading.Barrier(2), tls._publish, list[Path]()

    def late(made: Path, directory: Path, aside: Path) -> None:
        published.append(made)
        with contextlib.suppress(threading.BrokenBarrierError):
            meet.wait(0.2)
        publish(made, directory, aside)

    monkeypatch.setattr(tls, "_publish", late)

    async def main() -> list[Credentials]:
        return await asyncio.gather(*(asyncio.to_thread(ensure, tmp_path) for _ in range(2)))

    one, other = asyncio.run(main())
    assert (one, len(published)) == (other, 1)


def test_the_client_trusts_nothing_else(tmp_path: Path) -> None:
    """The client's context knows exactly one authority and checks names."""
    context = ensure(tmp_path).client_context()
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
