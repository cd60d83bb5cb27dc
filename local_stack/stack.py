"""Everything together: PostgreSQL, the platform, the migrations, PostgREST and the gateway."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from local_stack import platform, supabase_cli
from local_stack.gateway import PREFIX, GatewaySettings
from local_stack.http_server import HttpServer, get_status
from local_stack.keys import Keys
from local_stack.postgres import Postgres, require_free_port
from local_stack.postgrest import PostgREST, postgrest_path
from local_stack.process import GuardedProcess
from local_stack.surface import StackSurface

ANOTHER_PORT = "stop what listens there, or name another port; without one, a free port is taken"


class GatewayProcess(HttpServer):
    """`python -m local_stack.gateway` in front of PostgREST."""

    name = "the gateway"

    def __init__(self, *, upstream: str, auth_dsn: str, keys: Keys, log: Path, port: int | None = None) -> None:
        super().__init__(log=log, port=port)
        self._upstream = upstream
        self._auth_dsn = auth_dsn
        self._keys = keys

    def launch(self) -> GuardedProcess:
        """Start it with the keys in its environment."""
        keys = self._keys
        settings = GatewaySettings(
            host=self.host,
            port=self.port,
            upstream=self._upstream,
            tokens={
                keys.anon_key: keys.anon_key,
                keys.service_role_key: keys.service_role_key,
                keys.publishable_key: keys.anon_key,
                keys.secret_key: keys.service_role_key,
            },
            auth_dsn=self._auth_dsn,
            jwt_secret=keys.jwt_secret,
        )
        return GuardedProcess(
            [sys.executable, "-m", "local_stack.gateway"],
            log=self.log,
            env={**os.environ, "LOCAL_STACK_GATEWAY": settings.to_json()},
            cwd=supabase_cli.REPOSITORY,
            grace=5.0,
        )

    def is_ready(self) -> bool:
        """Ours: no other gateway takes this secret key."""
        return get_status(f"{self.url}{PREFIX}/", headers={"apikey": self._keys.secret_key}) == 200


class Stack(StackSurface):
    """A complete local project; a context manager, ready when entered.

    `data` keeps everything in that directory, the ports too. `port` fixes the gateway's port. `pool` is the number of
    PostgREST's database connections. `migrate` gets the URL of `postgres` and brings the schema, ours by default.
    Raises StackError with the remedy where a part is missing or fails.
    The parts can be stopped and started one by one: `stack.postgres.halt()/kill()/start()`,
    `stack.postgrest.stop()/kill()/start()`, `stack.gateway.stop()/kill()/start()`; ports stay the same.
    """

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        regime: platform.Regime = "explicit",
        port: int | None = None,
        pool: int = 20,
        migrate: Callable[[str], str] = supabase_cli.db_push,
    ) -> None:
        self._data = data
        self._regime = regime
        self._port = port
        self._pool = pool
        self._migrate = migrate
        self._exit = ExitStack()
        self.postgres: Postgres
        self.postgrest: PostgREST
        self.gateway: GatewayProcess
        self.keys: Keys

    def __enter__(self) -> Self:
        with ExitStack() as exit_stack:
            # What is missing is said before anything is started.
            postgrest_path()
            supabase_cli.cli_path()
            if self._port:
                require_free_port(self._port, remedy=ANOTHER_PORT)
            kept = None if self._data is None else Path(self._data) / "ports.json"
            ports = json.loads(kept.read_text()) if kept and kept.is_file() else {}
            self.postgres = exit_stack.enter_context(Postgres(data=self._data, port=ports.get("postgres")))
            home = self.postgres.home
            if "gateway" in ports and not self._port:
                require_free_port(ports["gateway"], remedy=f"stop what listens there, or remove {kept} for new ports")
            self.keys = Keys.load_or_generate(home / "keys.json")
            platform.install(self.dsn(), regime=self._regime, password=self.postgres.password)
            self.push_output = self._migrate(self.dsn(user="postgres"))
            self.postgrest = PostgREST(
                dsn=self.dsn(user="authenticator"),
                jwt_secret=self.keys.jwt_secret,
                token=self.keys.service_role_key,
                log=home / "postgrest.log",
                pool=self._pool,
            )
            exit_stack.callback(self.postgrest.stop)
            self.postgrest.start()
            self.gateway = GatewayProcess(
                upstream=self.postgrest.url,
                auth_dsn=self.dsn(user="supabase_auth_admin"),
                keys=self.keys,
                log=home / "gateway.log",
                port=self._port or ports.get("gateway"),
            )
            exit_stack.callback(self.gateway.stop)
            self.gateway.start()
            if kept:
                kept.write_text(json.dumps({"postgres": self.postgres.port, "gateway": self.gateway.port}) + "\n")
            self.url = self.gateway.url
            self.anon_key = self.keys.anon_key
            self.publishable_key = self.keys.publishable_key
            self.service_role_key = self.keys.service_role_key
            self.secret_key = self.keys.secret_key
            self.jwt_secret = self.keys.jwt_secret
            self.stripe_webhook_secret = self.keys.stripe_webhook_secret
            self.stripe_secret_key = self.keys.stripe_secret_key
            self._exit = exit_stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def dsn(self, *, user: str = "supabase_admin", dbname: str = "postgres") -> str:
        """A connection URL for `postgres`, `authenticator`, `supabase_auth_admin` or `supabase_admin`."""
        return self.postgres.dsn(user=user, dbname=dbname)
