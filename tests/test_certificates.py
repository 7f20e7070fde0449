"""The development authority makes certificates that strict clients believe, and no others do."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from stepout.certificates import Authority, new_key
from stepout.errors import SettingsError


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A TLS handshake over a pair of sockets; raises what the client raises."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as tls:
                tls.recv(1)
        except (OSError, ssl.SSLError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name):
            pass
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("name", ["api.example.com", "127.0.0.1", "::1"])
def test_a_leaf_is_believed_for_its_names(name: str) -> None:
    authority = Authority.create("stepout test")
    handshake(authority.server_context("other.example", name), trusting(authority), name)


def test_a_leaf_is_not_believed_for_another_name() -> None:
    authority = Authority.create("stepout test")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.server_context("a.example"), trusting(authority), "b.example")


def test_a_leaf_of_another_authority_is_not_believed() -> None:
    mine, theirs = Authority.create("one"), Authority.create("one")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(theirs.server_context("a.example"), trusting(mine), "a.example")


def test_the_authority_may_sign_leaves_and_no_authorities() -> None:
    authority = x509.load_pem_x509_certificate(Authority.create("one").certificate_pem)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)


def test_no_key_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    authority = Authority.create("one")
    authority.server_context("a.example")
    assert list(tmp_path.iterdir()) == []
    assert "PRIVATE KEY" not in repr(authority.leaf("a.example"))


def test_an_authority_on_disk_is_the_same_the_next_time(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "ca"
    first = Authority.kept_in(directory, "one")
    again = Authority.kept_in(directory, "one")
    assert again.certificate_pem == first.certificate_pem
    handshake(again.server_context("a.example"), trusting(first), "a.example")
    assert (directory / "ca.pem").read_bytes() == first.certificate_pem
    assert directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == {"ca.pem": 0o644, "ca-key.pem": 0o600}


def test_a_certificate_that_was_lost_or_changed_is_written_again(tmp_path: Path) -> None:
    first = Authority.kept_in(tmp_path, "one")
    (tmp_path / "ca.pem").write_bytes(b"other")
    Authority.kept_in(tmp_path, "one")
    assert (tmp_path / "ca.pem").read_bytes() == first.certificate_pem


def test_an_authority_that_ends_soon_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Authority.kept_in(tmp_path, "one")
    monkeypatch.setattr("stepout.certificates._LEFT", timedelta(days=400))
    new = Authority.kept_in(tmp_path, "one")
    assert new.certificate_pem != old.certificate_pem
    assert (tmp_path / "ca.pem").read_bytes() == new.certificate_pem


def test_many_that_begin_together_have_one_authority(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: Authority.kept_in(tmp_path, "one").certificate_pem, range(16))
    assert len(set(made)) == 1


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    Authority.kept_in(tmp_path, "one")
    (tmp_path / "ca-key.pem").chmod(0o640)
    with pytest.raises(SettingsError, match="readable by nobody else .* found mode 0640"):
        Authority.kept_in(tmp_path, "one")


def test_what_is_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").touch(mode=0o600)
    with pytest.raises(SettingsError, match="found something else"):
        Authority.kept_in(tmp_path, "one")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be kept in"):
        Authority.kept_in(tmp_path / "file" / "ca", "one")


def test_leaves_may_share_a_key_and_be_good_for_days() -> None:
    authority, key = Authority.create("one"), new_key()
    first, second = (authority.leaf(name, key=key, lifetime=timedelta(days=7)) for name in "ab")
    assert first.key_pem == second.key_pem
    leaf = x509.load_pem_x509_certificate(first.chain_pem)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=7, hours=1)
