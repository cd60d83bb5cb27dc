"""A stack that somebody else runs, such as `supabase start`, described by environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from local_stack.errors import StackError
from local_stack.keys import Keys
from local_stack.surface import StackSurface

NEEDED = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_DB_URL")


class ExternalStack(StackSurface):
    """SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY, SUPABASE_DB_URL; also SUPABASE_ANON_KEY, SUPABASE_JWT_SECRET.

    The migrations must have been pushed to it. It can't be stopped or killed from here.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        missing = [name for name in NEEDED if not environ.get(name)]
        if missing:
            raise StackError(f"an external stack needs {', '.join(missing)} too")
        self.url = environ["SUPABASE_URL"].rstrip("/")
        self.service_role_key = environ["SUPABASE_SERVICE_ROLE_KEY"]
        self.anon_key = environ.get("SUPABASE_ANON_KEY", "")
        self.jwt_secret = environ.get("SUPABASE_JWT_SECRET", "")
        # Stripe's side is the relay's and ours alone, so it is made up here.
        generated = Keys.generate()
        self.stripe_webhook_secret = generated.stripe_webhook_secret
        self.stripe_secret_key = generated.stripe_secret_key
        self._db_url = environ["SUPABASE_DB_URL"]

    def dsn(self, *, user: str = "supabase_admin", dbname: str = "postgres") -> str:
        """SUPABASE_DB_URL with another user and database; `supabase start` gives all roles one password."""
        parts = urlsplit(self._db_url)
        host = parts.netloc.rpartition("@")[2]
        login = f"{user}:{parts.password}" if parts.password else user
        return urlunsplit(parts._replace(netloc=f"{login}@{host}", path=f"/{quote(dbname)}"))


def external_stack() -> ExternalStack | None:
    """The stack that the environment describes, or None where SUPABASE_DB_URL is not set."""
    return ExternalStack(os.environ) if os.environ.get("SUPABASE_DB_URL") else None
