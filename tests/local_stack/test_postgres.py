"""A server of our own: throwaway or kept, as root or not, alone or beside others."""

from __future__ import annotations

import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from local_stack.errors import PartMissingError, StartError
from local_stack.postgres import SERVER_PORTS, Postgres, free_port


def system_identifier(postgres: Postgres) -> int:
    with psycopg.connect(postgres.dsn()) as connection:
        row = connection.execute("select system_identifier from pg_control_system()").fetchone()
    assert row is not None
    return int(row[0])


def test_server_never_runs_as_root_and_its_log_and_password_are_ours(server: Postgres) -> None:
    assert server.server_pid is not None

    assert Path(f"/proc/{server.server_pid}").stat().st_uid != 0
    assert (server.home / "password").stat().st_uid == os.geteuid()
    assert (server.home / "password").stat().st_mode & 0o777 == 0o600


def test_server_listens_on_the_loopback_alone_and_asks_for_a_password(server: Postgres) -> None:
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("127.0.0.1",)

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="wrong"))


def test_kept_data_is_found_again_by_the_second_start(open_tmp: Path) -> None:
    home = open_tmp / "kept data"
    with Postgres(data=home) as first:
        identifier = system_identifier(first)
        with psycopg.connect(first.dsn()) as connection:
            connection.execute("create table kept as select 42 as answer")
            durable = connection.execute("show fsync").fetchone()

    with Postgres(data=home) as second, psycopg.connect(second.dsn()) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)
        assert system_identifier(second) == identifier

    assert durable == ("on",)


def test_kept_data_serves_one_stack_at_a_time(open_tmp: Path) -> None:
    with Postgres(data=open_tmp / "kept") as first:
        with pytest.raises(StartError, match="in use by another stack"):
            Postgres(data=open_tmp / "kept")

        assert system_identifier(first)


def test_killed_server_starts_again_on_its_port_with_its_data() -> None:
    with Postgres() as postgres:
        port = postgres.port
        with psycopg.connect(postgres.dsn()) as connection:
            connection.execute("create table committed (id int)")

        postgres.kill()
        assert postgres.server_pid is None
        postgres.start()

        assert postgres.port == port
        with psycopg.connect(postgres.dsn()) as connection:
            assert connection.execute("select count(*) from committed").fetchone() == (0,)


def test_port_that_somebody_else_holds_is_an_error_and_not_their_server(server: Postgres) -> None:
    with pytest.raises(StartError, match=r"could not bind|Address already in use"):
        Postgres(port=server.port)

    assert system_identifier(server)


def test_ports_of_servers_lie_below_those_that_connections_are_given(server: Postgres) -> None:
    assert SERVER_PORTS.stop <= 32_768  # Linux's first, the lowest of all
    assert {server.port, *(free_port() for _ in range(20))} <= set(SERVER_PORTS)


def test_where_every_port_is_taken_no_free_one_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr("local_stack.postgres.SERVER_PORTS", range(taken, taken + 1))

        with pytest.raises(StartError, match=rf"^no free port between {taken} and {taken} of 127\.0\.0\.1 was found$"):
            free_port()


def test_throwaway_server_leaves_nothing_behind() -> None:
    with Postgres() as postgres:
        home = postgres.home
        assert home.exists()

    assert not home.exists()


def test_missing_programs_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_STACK_PG_BIN", str(tmp_path))

    with pytest.raises(PartMissingError, match="LOCAL_STACK_PG_BIN") as error:
        Postgres()

    assert "make setup" in str(error.value)


def test_programs_in_a_directory_that_is_closed_to_others_are_used_all_the_same(
    server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed = tmp_path / "closed to others"
    closed.mkdir(mode=0o700)
    shutil.copytree(server.bin_dir.parent, closed / "pginstall", symlinks=True)
    monkeypatch.setenv("LOCAL_STACK_PG_BIN", str(closed / "pginstall/bin"))

    with Postgres() as postgres:
        assert system_identifier(postgres)


def test_server_killed_under_a_busy_session_waits_for_its_end_and_starts() -> None:
    with Postgres() as postgres, psycopg.connect(postgres.dsn(), autocommit=True) as busy:
        backend = busy.info.backend_pid
        # Computes without ever waiting for anything, so it notices the postmaster's death only when it is done.
        loop = "do $$ begin for i in 1..30000000 loop end loop; end $$"
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(busy.execute, loop)
            with psycopg.connect(postgres.dsn(), autocommit=True) as watcher:
                while (
                    watcher.execute(
                        "select 1 from pg_stat_activity where pid = %s and state = 'active'", (backend,)
                    ).fetchone()
                    is None
                ):
                    assert not work.done()

            postgres.kill()
            postgres.start()

            assert system_identifier(postgres)
            work.exception(30)  # whichever way it ended
            assert "pre-existing shared memory block" in (postgres.home / "postgres.log").read_text()
