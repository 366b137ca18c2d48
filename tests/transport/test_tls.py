"""TLS with a certificate of one's own: what is spoken, what is refused, and what is read again."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from calldex.errors import BadSettings
from calldex.settings import Settings
from calldex.transport.tls import Certificate
from tests.api.serving import Server, data_of, reply_of

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LIFE = timedelta(days=90)


class Pair(msgspec.Struct, frozen=True):
    """The files of a certificate and its key."""

    cert: Path
    key: Path

    def settings(self) -> Settings:
        """Settings that name them."""
        return Settings(tls_cert=self.cert, tls_key=self.key)


def write(pair: Pair, key: Key | None = None, begin: timedelta = timedelta(0), life: timedelta = LIFE) -> bytes:
    """Make a certificate for this machine, valid `life` long from `begin` (counted from now) on; itself in DER."""
    made = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "calldex test")])
    now = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder(name, name, made.public_key(), x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + begin + life)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(made, hashes.SHA256())
    )
    pair.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A pair that fits."""
    folder = tmp_path_factory.mktemp("certificate")
    made = Pair(folder / "cert.pem", folder / "key.pem")
    write(made)
    return made


@pytest.fixture(scope="module")
def served(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """A server with it that waits for nobody."""
    data, keys = data_of(tmp_path_factory.mktemp("tls"), records=10_000)
    server = Server(data, {"HANDSHAKE_SECONDS": 0.5, "REPLY_SECONDS": 0.3}, tls_cert=pair.cert, tls_key=pair.key)
    yield server, keys
    assert 0 == server.end()[0]


Served = tuple[Server, dict[str, str]]


def trusting(pair: Pair) -> ssl.SSLContext:
    """A client that trusts this certificate."""
    return ssl.create_default_context(cafile=pair.cert)


def test_a_reply_by_tls(served: Served, pair: Pair) -> None:
    """The announced address is https, a client that trusts the certificate gets its reply, and is told to stay."""
    server, keys = served
    assert server.url.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=server.url, verify=trusting(pair)) as client:
        for _ in range(2):
            reply = client.get("/api/v2/cdr", params={"key": keys["admin"], "per_page": 10_000})
            assert 10_000 == len(reply.json()["records"])
            assert "max-age=31536000" == reply.headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("version", "cipher"), [(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES"), (ssl.TLSVersion.TLSv1_3, "TLS_")]
)
def test_what_is_spoken(served: Served, pair: Pair, version: ssl.TLSVersion, cipher: str) -> None:
    """TLS 1.2 and 1.3 with good ciphers, and HTTP/1.1 of the protocols that are offered."""
    context = trusting(pair)
    context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(served[0].connect(), server_hostname="127.0.0.1") as connection:
        assert "http/1.1" == connection.selected_alpn_protocol()
        used = connection.cipher()
        assert used is not None
        assert used[0].startswith(cipher)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_what_is_not_spoken(served: Served, pair: Pair) -> None:
    """TLS 1.1, and a cipher that keeps no secret when the key is lost, are refused."""
    old, weak = trusting(pair), trusting(pair)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    weak.set_ciphers("ALL:!ECDHE")
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (old, weak):
        with served[0].connect() as connection, pytest.raises((ssl.SSLError, ConnectionResetError)):
            context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_plain_http_is_refused(served: Served) -> None:
    """A client that does not speak TLS is cut at once, without a reply in the clear."""
    began = time.monotonic()
    with served[0].connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in reply_of(connection)
    assert time.monotonic() < began + 0.4


def test_who_still_sends_reads_the_reply(served: Served, pair: Pair) -> None:
    """A request that is refused before it has come whole is taken to its end by TLS as well, and then closed."""
    plain = served[0].connect()
    with plain, trusting(pair).wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1300000\r\n\r\n")
        reply = connection.recv(65_536)
        for _ in range(20):
            connection.sendall(b"x" * 65_000)
        assert b"404 Not Found" in reply + reply_of(connection)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_slow_handshake_is_cut(served: Served, pair: Pair, sent: bytes) -> None:
    """A client that does not finish its handshake is cut, and its place is free."""
    url = f"{served[0].url}/metrics"
    with served[0].connect() as connection:
        connection.sendall(sent)
        assert b"" == reply_of(connection)
    text = httpx.get(url, verify=trusting(pair)).text
    assert 'calldex_slow_clients_cut_total{part="handshake"}' in text
    assert "calldex_connections 1.0" in text


def test_a_reply_that_is_not_taken(served: Served, pair: Pair) -> None:
    """A client that takes nothing of its reply is cut by TLS as well."""
    server, keys = served
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.connect(("127.0.0.1", server.port))
    url = f"{server.url}/metrics"
    with trusting(pair).wrap_socket(plain, server_hostname="127.0.0.1") as connection:
        connection.sendall(f"GET /api/v2/cdr?key={keys['admin']}&per_page=10000 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"HTTP/1.1 200 OK" == connection.recv(15)
        deadline = time.monotonic() + 20
        while 'calldex_slow_clients_cut_total{part="reply"} 1.0' not in httpx.get(url, verify=trusting(pair)).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def certificate_of(server: Server) -> bytes:
    """What a new connection is shown, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(server.connect()) as connection:
        return connection.getpeercert(binary_form=True) or b""


def test_the_certificate_is_read_again(tmp_path: Path) -> None:
    """After SIGHUP new connections see the new certificate, of another kind even, and old ones go on; a pair that does
    not fit changes nothing but the log."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    first = write(pair)
    data, _ = data_of(tmp_path, records=1)
    server = Server(data, tls_cert=pair.cert, tls_key=pair.key)
    with httpx.Client(base_url=server.url, verify=trusting(pair)) as client:
        assert 200 == client.get("/healthz").status_code
        assert first == certificate_of(server)
        second = write(pair, rsa.generate_private_key(65537, 2048))
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert second == certificate_of(server)
        pair.key.write_text("nothing")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert second == certificate_of(server)
        assert 200 == client.get("/healthz").status_code
    code, log = server.end()
    assert 0 == code
    assert "certificate_reloaded" in log
    assert "key.pem" in log
    assert "holds no private key" in log


def test_only_one_of_both(pair: Pair) -> None:
    """A certificate without its key is refused, and the other way round; neither means no TLS."""
    for settings, missing in ((Settings(tls_cert=pair.cert), "tls_key"), (Settings(tls_key=pair.key), "tls_cert")):
        with pytest.raises(BadSettings) as error:
            Certificate.of(settings)
        assert [missing] == [problem.parameter for problem in error.value.problems]
    assert Certificate.of(Settings()) is None


def encrypted(pair: Pair) -> None:
    """Encrypt the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    write(pair, key)
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))


def mismatched(pair: Pair) -> None:
    """Make another certificate, but keep the key."""
    write(pair)
    kept = pair.key.read_bytes()
    write(pair)
    pair.key.write_bytes(kept)


@pytest.mark.parametrize(
    ("spoil", "named", "message"),
    [
        (lambda pair: pair.cert.unlink(), "tls_cert", "cannot be read: No such file"),
        (lambda pair: pair.key.unlink(), "tls_key", "cannot be read: No such file"),
        (lambda pair: pair.cert.write_text("x"), "tls_cert", "holds no certificate"),
        (lambda pair: pair.key.write_text("x"), "tls_key", "holds no private key"),
        (encrypted, "tls_key", "is encrypted"),
        (mismatched, "tls_key", "is not the key of the certificate"),
        (lambda pair: write(pair, begin=-LIFE), "tls_cert", "expired at"),
        (lambda pair: write(pair, begin=LIFE), "tls_cert", "is not valid before"),
    ],
)
def test_a_bad_certificate_stops_the_start(tmp_path: Path, spoil: object, named: str, message: str) -> None:
    """What is wrong with which file is said in words."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    write(pair)
    assert callable(spoil)
    spoil(pair)
    with pytest.raises(BadSettings, match=message) as error:
        Certificate.of(pair.settings())
    problem = error.value.problems[0]
    assert (named, str(getattr(pair.settings(), named))) == (problem.parameter, problem.given)


@pytest.mark.parametrize(("days", "warned"), [(14, True), (15, False)])
def test_a_certificate_that_expires_soon(tmp_path: Path, days: int, warned: bool) -> None:
    """Two weeks before its end a certificate is used, and the log says so."""
    pair = Pair(tmp_path / "cert.pem", tmp_path / "key.pem")
    write(pair, life=timedelta(days=days))
    with capture_logs() as logs:
        Certificate.of(pair.settings())
    assert warned == ("certificate_expires_soon" in [line["event"] for line in logs])
