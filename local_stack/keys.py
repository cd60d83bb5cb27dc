"""A stack's secrets: generated at run time, kept beside the data where that is kept, never committed."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jwt

TEN_YEARS = 10 * 365 * 24 * 3600  # seconds; what a hosted project's long-lived keys carry
USER_TOKEN_SECONDS = 3600  # as Supabase Auth issues them


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Everything that signs or authenticates on one stack."""

    jwt_secret: str
    anon_key: str
    service_role_key: str
    publishable_key: str
    secret_key: str
    stripe_webhook_secret: str
    stripe_secret_key: str

    @classmethod
    def generate(cls) -> Keys:
        """New random keys in the formats of Supabase and Stripe."""
        jwt_secret = secrets.token_urlsafe(48)
        return cls(
            jwt_secret=jwt_secret,
            anon_key=sign(jwt_secret, {"role": "anon"}),
            service_role_key=sign(jwt_secret, {"role": "service_role"}),
            publishable_key=f"sb_publishable_{secrets.token_urlsafe(16)}_{secrets.token_urlsafe(6)}",
            secret_key=f"sb_secret_{secrets.token_urlsafe(16)}_{secrets.token_urlsafe(6)}",
            stripe_webhook_secret=f"whsec_{secrets.token_hex(24)}",
            # Well-formed but unknown to Stripe: nothing on the local stack's path calls Stripe.
            stripe_secret_key=f"sk_test_{secrets.token_hex(24)}",
        )

    @classmethod
    def load_or_generate(cls, path: Path) -> Keys:
        """The keys in the file, else new ones written to it, readable by its owner alone."""
        if path.exists():
            return cls(**json.loads(path.read_text()))
        keys = cls.generate()
        write_private(path, json.dumps(asdict(keys), indent=2) + "\n")
        return keys


def sign(jwt_secret: str, claims: Mapping[str, str | bool], *, lifetime: int = TEN_YEARS) -> str:
    """An HS256 token with `iss`, `iat`, `exp` and the claims; `lifetime` in seconds, may be negative."""
    now = int(time.time())
    payload = {"iss": "supabase", "iat": now, "exp": now + lifetime, **claims}
    return jwt.encode(payload, jwt_secret, algorithm="HS256")


def write_private(path: Path, text: str) -> None:
    """Write a file that holds secrets: mode 0600 from its first byte on, complete or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as handle:
        handle.write(text)
    temporary.replace(path)
