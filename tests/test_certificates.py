"""The development authority makes certificates that strict clients believe, and no others do."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from stepout.certificates import Authority


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
