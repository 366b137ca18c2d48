"""A small S3 server on this machine: objects and uploads in parts, for who signs their requests rightly (Signature
Version 4, https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html)."""

from __future__ import annotations

import hashlib
import hmac
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ACCESS_KEY: Final = "AKIATESTS"
SECRET_KEY: Final = "not a secret, since it opens nothing"


_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_MODIFIED: Final = "Thu, 01 Jan 2026 00:00:00 GMT"


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324 - as S3 does


class S3(ThreadingHTTPServer):
    """The server. `refused` are the numbers of parts that are refused; `uploads` those that were begun and have ended
    in no way, `asked` what objects were asked for, as `GET /bucket/key`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.aborted = 0
        self.refused: set[int] = set()
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is none of its errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def environment(self, secret: str = SECRET_KEY) -> dict[str, str]:
        """What programs are told of it."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "eu-west-1",
        }


@contextmanager
def s3() -> Iterator[S3]:
    """A server, as long as it is needed."""
    with S3() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: S3
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is declared
        """Nothing."""

    def do_PUT(self) -> None:
        """An object, or a part of one."""
        body = self._body()
        if body is None:
            return
        path, query = self._asked()
        with self.server.lock:
            if "uploadId" in query:
                number = int(query["partNumber"])
                if number in self.server.refused:
                    self._reply(403, b"<Error><Code>AccessDenied</Code></Error>")
                    return
                if query["uploadId"] not in self.server.uploads:  # it was given up meanwhile
                    self._reply(404, b"<Error><Code>NoSuchUpload</Code></Error>")
                    return
                self.server.uploads[query["uploadId"]][number] = body
            elif self.headers.get("if-none-match") == "*" and path in self.server.objects:
                self._reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            else:
                self.server.objects[path] = body
        self._reply(200, b"", ETag=_tag(body))

    def do_GET(self) -> None:
        """An object or a part of it, or the names of those that begin with a prefix."""
        if self._body() is None:
            return
        path, query = self._asked()
        with self.server.lock:
            if "list-type" in query:
                self._reply(200, self._listed(path, query))
                return
            self.server.asked.append(f"{self.command} {unquote(path)}")
            body = self.server.objects.get(unquote(path))
        if body is None:
            self._reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {"ETag": _tag(body), "Last-Modified": _MODIFIED}
        if (found := _RANGE.fullmatch(self.headers.get("range", ""))) is None:
            self._reply(200, body, **headers)
            return
        start = len(body) - int(found[2]) if not found[1] else int(found[1])
        end = len(body) if not found[1] or not found[2] else min(int(found[2]) + 1, len(body))
        self._reply(206, body[start:end], **headers, **{"Content-Range": f"bytes {start}-{end - 1}/{len(body)}"})

    def do_HEAD(self) -> None:
        """The same without its content."""
        self.do_GET()

    def _listed(self, path: str, query: dict[str, str]) -> bytes:
        """The names, and the folders where a delimiter ends the name of one."""
        prefix, delimiter, after = (query.get(name, "") for name in ("prefix", "delimiter", "start-after"))
        root = f"{path.rstrip('/')}/"
        keys = sorted(key.removeprefix(root) for key in self.server.objects if key.startswith(root + prefix))
        folders, files = set(), []
        for key in keys:
            if key <= after:
                continue
            if delimiter and delimiter in key[len(prefix) :]:
                folders.add(prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter)
            else:
                files.append(key)
        told = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag>"
            f"<Size>{len(self.server.objects[root + key])}</Size></Contents>"
            for key in files
        )
        told += "".join(f"<CommonPrefixes><Prefix>{each}</Prefix></CommonPrefixes>" for each in sorted(folders))
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{told}</ListBucketResult>".encode()

    def do_POST(self) -> None:
        """Begin an upload in parts, or end it."""
        body = self._body()
        if body is None:
            return
        path, query = self._asked()
        with self.server.lock:
            if "uploads" in query:
                id_ = f"upload-{len(self.server.uploads) + self.server.aborted + len(self.server.objects)}"
                self.server.uploads[id_] = {}
                told = f"<UploadId>{id_}</UploadId>"
                self._reply(200, f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>".encode())
                return
            parts = self.server.uploads.pop(query["uploadId"])
            self.server.objects[path] = b"".join(parts[number] for number in sorted(parts))
        told = '<ETag>"whole"</ETag><Location>l</Location><Bucket>b</Bucket><Key>k</Key>'
        self._reply(200, f"<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>".encode())

    def do_DELETE(self) -> None:
        """Give an upload up, or delete an object."""
        if self._body() is None:
            return
        path, query = self._asked()
        with self.server.lock:
            if "uploadId" in query:
                self.server.uploads.pop(query["uploadId"], None)
                self.server.aborted += 1
            else:
                self.server.objects.pop(path, None)
        self._reply(204, b"")

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        return url.path, dict(parse_qsl(url.query, keep_blank_values=True))

    def _body(self) -> bytes | None:
        """What was sent, if its sender signed it; else they are refused."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self._is_signed(body):
            return body
        self._reply(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return None

    def _is_signed(self, body: bytes) -> bool:
        given = dict(
            part.strip().split("=", 1)
            for part in self.headers.get("authorization", "").removeprefix("AWS4-HMAC-SHA256").split(",")
            if "=" in part
        )
        key, _, scope = given.get("Credential", "").partition("/")
        digest = self.headers.get("x-amz-content-sha256", "")
        if key != ACCESS_KEY or digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
            return False
        path, query = self._asked()
        signed = given["SignedHeaders"].split(";")
        canonical = "\n".join(
            (
                self.command,
                quote(path, safe="/~%"),
                "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items())),
                *(f"{name}:{self.headers[name].strip()}" for name in signed),
                "",
                ";".join(signed),
                digest,
            )
        )
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                self.headers["x-amz-date"],
                scope,
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        secret = f"AWS4{SECRET_KEY}".encode()
        for part in scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        return hmac.compare_digest(hmac.new(secret, text.encode(), "sha256").hexdigest(), given["Signature"])

    def _reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
