"""What the relay, the suites and the demo know of a stack, wherever it runs."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod

import psycopg

from local_stack.errors import StackError
from local_stack.keys import USER_TOKEN_SECONDS, sign


class StackSurface(ABC):
    """A project's addresses and keys. `url` is what SUPABASE_URL holds."""

    url: str
    service_role_key: str
    anon_key: str
    jwt_secret: str
    stripe_webhook_secret: str
    stripe_secret_key: str

    @abstractmethod
    def dsn(self, *, user: str = "supabase_admin", dbname: str = "postgres") -> str:
        """A connection URL for one of the project's login roles."""

    def user_token(self, user_id: str | uuid.UUID, *, lifetime: int = USER_TOKEN_SECONDS) -> str:
        """What Supabase Auth would issue to that user after a sign-in; `lifetime` in seconds."""
        if not self.jwt_secret:
            raise StackError("users' tokens need the project's JWT secret: set SUPABASE_JWT_SECRET")
        claims = {"sub": str(user_id), "aud": "authenticated", "role": "authenticated"}
        return sign(self.jwt_secret, claims, lifetime=lifetime)

    def create_user(self, email: str) -> uuid.UUID:
        """A confirmed user in auth.users, inserted as `postgres`; returns its id."""
        user_id = uuid.uuid4()
        with psycopg.connect(self.dsn(user="postgres")) as connection:
            connection.execute(
                "insert into auth.users (instance_id, id, aud, role, email, email_confirmed_at, created_at,"
                " updated_at) values ('00000000-0000-0000-0000-000000000000', %s, 'authenticated',"
                " 'authenticated', %s, now(), now(), now())",
                (user_id, email),
            )
        return user_id

    def env(self) -> dict[str, str]:
        """The relay's four settings for this stack."""
        return {
            "STRIPE_SECRET_KEY": self.stripe_secret_key,
            "STRIPE_WEBHOOK_SECRET": self.stripe_webhook_secret,
            "SUPABASE_URL": self.url,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_role_key,
        }
