"""The image, really built and really run: small, nobody's root, read-only, and as good a relay as any other."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from local_stack.http_server import get_status
from local_stack.stack import Stack
from relay import __version__
from testkit.polling import until
from testkit.shop import Shop, paid, shop_on
from testkit.stripe_events import deliver, encode, unrelated_event
from tests.deploy.image import ROOT, Container, Storage, download_wheels

MEBIBYTE = 1024 * 1024
# The relay and its dependencies, 88 MiB when this was written; what the base weighs is the base's business.
LARGEST = 110 * MEBIBYTE


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    home = Path(tempfile.mkdtemp(prefix="relay-image-"))
    home.chmod(0o755)
    storage = Storage(home)
    try:
        storage.make_base()
        yield storage
    finally:
        storage.buildah("rm", "--all")
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def image(storage: Storage) -> tuple[Path, dict[str, Any]]:
    """A container's root file system, and the image's configuration."""
    wheels = ROOT / "dist" / "wheels"
    download_wheels(wheels)
    configuration = storage.build(wheels)
    return storage.unpack(), configuration


@pytest.fixture(scope="module")
def container(
    image: tuple[Path, dict[str, Any]], local_stack_only: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    root, configuration = image
    log = tmp_path_factory.mktemp("image") / "relay.log"
    relay = Container(root, configuration, env=local_stack_only.env(), log=log)
    relay.start()
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def shop(local_stack_only: Stack) -> Iterator[Shop]:
    with shop_on(local_stack_only) as shop:
        yield shop


def test_configuration_names_no_root_and_no_secret(image: tuple[Path, dict[str, Any]]) -> None:
    _, configuration = image

    user, _, group = configuration["User"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert configuration["StopSignal"] == "SIGTERM"
    assert [*configuration["Entrypoint"], *configuration["Cmd"]] == ["relay", "serve"]
    assert {line.partition("=")[0] for line in configuration["Env"]} == {"PATH", "PYTHONDONTWRITEBYTECODE"}
    assert configuration["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_image_holds_the_relay_and_nothing_of_how_it_was_built(image: tuple[Path, dict[str, Any]]) -> None:
    root, _ = image
    (packages,) = (root / "opt/relay/lib").glob("python*/site-packages")

    installed = {path.name for path in packages.iterdir()}
    assert f"order_group_relay-{__version__}.dist-info" in installed
    assert installed.isdisjoint({"pip", "hatchling", "psycopg", "pytest", "local_stack", "tests"})
    for left in ("source", "build", "wheel", ".env"):
        assert not (root / left).exists()
    sizes = (path.lstat().st_size for path in (root / "opt/relay").rglob("*"))
    assert sum(sizes) < LARGEST


def test_process_is_the_images_user_holds_no_capability_and_can_write_nowhere(container: Container) -> None:
    status = Path(f"/proc/{container.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert fields["Uid"].split() == ["10001"] * 4
    assert fields["Gid"].split() == ["10001"] * 4
    assert int(fields["CapEff"], 16) == 0
    for place in ("/written", "/tmp/written", "/opt/relay/written"):  # noqa: S108
        assert "Read-only file system" in container.run("touch", place).stderr


def test_running_image_passes_the_demos_deliveries(container: Container, shop: Shop, local_stack_only: Stack) -> None:
    url = f"{container.url}/api/stripe/webhook"
    first, second = shop.order_group(), shop.order_group()
    secret = local_stack_only.stripe_webhook_secret
    body = encode(paid(first))
    wrong = encode(paid(second, amount_total=1))
    tampered = encode(paid(second))

    answers = [
        deliver(url, body, secret=secret),
        deliver(url, body, secret=secret),
        deliver(url, wrong, secret=secret),
        deliver(url, tampered.replace(b"usd", b"eur"), secret=secret, signed=tampered),
        deliver(url, encode(unrelated_event()), secret=secret),
    ]

    assert [(answer.status, answer.body["outcome"], answer.body["reason"]) for answer in answers] == [
        (200, "applied", None),
        (200, "replayed", None),
        (500, "rejected", "amount_mismatch"),
        (400, "refused", "invalid_signature"),
        (200, "ignored", "event_type"),
    ]


def test_other_commands_of_the_relay_run_in_it_too(container: Container) -> None:
    done = container.run("relay", "check", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ready"] is True


def test_sigterm_finishes_the_delivery_in_hand(container: Container, shop: Shop, local_stack_only: Stack) -> None:
    group = shop.order_group()
    url = f"{container.url}/api/stripe/webhook"
    assert container.health() == 0

    with (
        psycopg.connect(local_stack_only.dsn()) as holder,
        psycopg.connect(local_stack_only.dsn(), autocommit=True) as observer,
        ThreadPoolExecutor() as sender,
    ):
        holder.execute("select from public.order_groups where id = %s for update", [group.id])
        in_hand = sender.submit(deliver, url, encode(paid(group)), secret=local_stack_only.stripe_webhook_secret)
        waiting = "select count(*) from pg_stat_activity where %s = any(pg_blocking_pids(pid))"
        while observer.execute(waiting, [holder.info.backend_pid]).fetchone() != (1,):
            assert not in_hand.done()
        assert container.pid is not None
        os.kill(container.pid, signal.SIGTERM)
        while get_status(f"{container.url}/readyz") != 503:
            assert not in_hand.done()
        holder.rollback()
        answer = in_hand.result()

    assert (answer.status, answer.body["outcome"]) == (200, "applied")
    # Before a second signal, which would end it at once.
    asyncio.run(until(lambda: '"message": "Stopped"' in container.log.read_text()))
    container.stop()
    assert container.health() == 1
