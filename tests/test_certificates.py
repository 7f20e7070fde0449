"""The development authority makes certificates that strict clients believe, and no others do."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from stepout.certificates import Authority, KeptLeaf, new_key
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


# --- A server's certificate on disk ---------------------------------------------------------------


def parsed(leaf: KeptLeaf) -> x509.Certificate:
    return x509.load_pem_x509_certificate(leaf.chain.read_bytes())


def test_a_server_s_certificate_is_kept_and_believed(tmp_path: Path) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    leaf = authority.leaf_kept_in(tmp_path, "LocalHost", "127.0.0.1", "::1", "0:0:0:0:0:0:0:1")
    assert leaf.names == ("localhost", "127.0.0.1", "::1")
    assert leaf.is_new
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "server.pem": 0o644,
        "server-key.pem": 0o600,
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain, leaf.key)
    for name in leaf.names:
        handshake(context, trusting(authority), name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = Authority.kept_in(tmp_path, "one").leaf_kept_in(tmp_path, "::1", "localhost")
    assert not again.is_new
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    ends = x509.load_pem_x509_certificate(authority.certificate_pem).not_valid_after_utc
    assert again.ends == leaf.ends == min(ends, parsed(leaf).not_valid_after_utc)


def test_a_certificate_that_lacks_a_name_is_made_anew_with_its_key(tmp_path: Path) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    first = authority.leaf_kept_in(tmp_path, "a.example")
    key = first.key.read_bytes()
    second = authority.leaf_kept_in(tmp_path, "a.example", "*.b.example")
    assert second.is_new
    assert second.names == ("a.example", "*.b.example")
    assert second.key.read_bytes() == key


def test_a_certificate_that_ends_soon_is_made_anew(tmp_path: Path) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    short = authority.leaf("a.example", lifetime=timedelta(days=29))
    (tmp_path / "server.pem").write_bytes(short.chain_pem)
    (tmp_path / "server-key.pem").touch(mode=0o600)
    (tmp_path / "server-key.pem").write_bytes(short.key_pem)
    assert authority.leaf_kept_in(tmp_path, "a.example").is_new
    assert not authority.leaf_kept_in(tmp_path, "a.example").is_new


@pytest.mark.parametrize("fault", ["authority", "chain", "key", "broken", "missing"])
def test_a_certificate_that_does_not_fit_is_made_anew(tmp_path: Path, fault: str) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    leaf = authority.leaf_kept_in(tmp_path, "a.example")
    other = Authority.create("one")
    match fault:
        case "authority":
            (tmp_path / "ca-key.pem").unlink()
            authority = Authority.kept_in(tmp_path, "one")
        case "chain":
            own = leaf.chain.read_bytes().removesuffix(authority.certificate_pem)
            leaf.chain.write_bytes(own + other.certificate_pem)
        case "key":
            leaf.key.write_bytes(other.leaf("a.example").key_pem)
        case "broken":
            leaf.chain.write_bytes(leaf.chain.read_bytes()[:100])
        case _:
            leaf.chain.unlink()
    mended = authority.leaf_kept_in(tmp_path, "a.example")
    assert mended.is_new
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(mended.chain, mended.key)
    handshake(context, trusting(authority), "a.example")


def test_many_that_begin_together_have_one_pair(tmp_path: Path) -> None:
    def make(_: int) -> None:
        Authority.kept_in(tmp_path, "one").leaf_kept_in(tmp_path, "a.example")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(16)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    handshake(context, trusting(Authority.kept_in(tmp_path, "one")), "a.example")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_server_s_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    leaf = authority.leaf_kept_in(tmp_path, "a.example")
    leaf.key.chmod(0o604)
    with pytest.raises(SettingsError, match="server-key.pem to be this user's .* mode 0604"):
        authority.leaf_kept_in(tmp_path, "a.example")
    leaf.key.chmod(0o600)
    leaf.key.write_text("something else")
    with pytest.raises(SettingsError, match="a key that stepout made, found something else"):
        authority.leaf_kept_in(tmp_path, "a.example")


@pytest.mark.parametrize("name", ["ca.pem", "server.pem"])
def test_a_link_in_a_certificate_s_place_is_replaced_and_not_followed(
    tmp_path: Path, name: str
) -> None:
    directory, victim = tmp_path / "ca", tmp_path / "victim"
    victim.write_text("mine")
    directory.mkdir(mode=0o700)
    (directory / name).symlink_to(victim)
    Authority.kept_in(directory, "one").leaf_kept_in(directory, "a.example")
    assert victim.read_text() == "mine"
    assert not (directory / name).is_symlink()


@pytest.mark.parametrize("name", ["ca-key.pem", "server-key.pem"])
def test_a_link_in_a_key_s_place_is_not_written_through(tmp_path: Path, name: str) -> None:
    directory, target = tmp_path / "ca", tmp_path / "not-there"
    directory.mkdir(mode=0o700)
    (directory / name).symlink_to(target)
    with pytest.raises(SettingsError):
        Authority.kept_in(directory, "one").leaf_kept_in(directory, "a.example")
    assert not target.exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    tmp_path.chmod(mode)
    with pytest.raises(SettingsError, match=f"writable by nobody else .* found mode {mode:04o}"):
        Authority.kept_in(tmp_path, "one", is_shared=False)
    assert Authority.kept_in(tmp_path, "one").certificate_pem == authority.certificate_pem
    with pytest.raises(SettingsError, match="others could put their own certificates there"):
        authority.leaf_kept_in(tmp_path, "a.example")


def test_a_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    with pytest.raises(SettingsError, match=f"to be this user's .* and the user {owner}"):
        Authority.kept_in(tmp_path, "one", is_shared=False)


@pytest.mark.parametrize("name", ["", "a b", "a..b", "https://a.example", "-/", "é.example", "*"])
def test_what_is_no_name_is_told(tmp_path: Path, name: str) -> None:
    authority = Authority.kept_in(tmp_path, "one")
    with pytest.raises(SettingsError, match="Expected a DNS name such as"):
        authority.leaf_kept_in(tmp_path, "a.example", name)
    assert not (tmp_path / "server.pem").exists()
