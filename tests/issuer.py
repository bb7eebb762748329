"""An issuer of tokens: keys, tokens signed with them, and a real server that shows the public keys."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from joserfc import jwk, jwt

AUDIENCE = "my-service"


@dataclass(slots=True)
class Issuer:
    """Who signs tokens. `keys` are shown, newest last; `status` and `body` replace the answer."""

    url: str = "https://issuer.example"
    keys: list[jwk.RSAKey | jwk.ECKey] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    requests: int = 0

    def rotate(self, kid: str, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on."""
        parameters: jwk.KeyParameters = {"kid": kid, "use": "sig"}
        new = jwk.ECKey.generate_key("P-256", parameters, private=True)
        self.keys = [*(self.keys if keep_old else []), new]

    def document(self) -> bytes:
        """Return the key set."""
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good token; None takes one away."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "exp": now + 600, "iat": now, "scope": "genai"}
        return {name: value for name, value in {**claims, **changed}.items() if value is not None}

    def token(self, *, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """Return a token signed with the newest key."""
        key = self.keys[-1]
        return jwt.encode({"alg": "ES256", "kid": key.kid, **(header or {})}, self.claims(**changed), key, ["ES256"])


@contextmanager
def shown(issuer: Issuer) -> Iterator[str]:
    """Serve the key set of an issuer on a port of this machine; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests += 1
            body = issuer.document() if issuer.body is None else issuer.body
            self.send_response(issuer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/keys"
        finally:
            server.shutdown()
            thread.join()
