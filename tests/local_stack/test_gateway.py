"""The gateway's rules for keys, and the Data API behind it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from local_stack.keys import sign
from local_stack.stack import Stack

TABLE = "/rest/v1/sellers?select=id"


@pytest.fixture
def api(local_stack_only: Stack) -> Iterator[httpx.Client]:
    """A client without any key."""
    with httpx.Client(base_url=local_stack_only.url, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_request_without_a_key_is_refused(api: httpx.Client) -> None:
    answer = api.get(TABLE)

    assert (answer.status_code, answer.json()["message"]) == (401, "No API key found in request")


@pytest.mark.parametrize("key", ["sb_secret_of_another_project", "x", "sb_secret_"])
def test_unknown_key_is_refused(api: httpx.Client, key: str) -> None:
    answer = api.get(TABLE, headers={"apikey": key})

    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")


def test_token_of_another_project_is_no_key(api: httpx.Client) -> None:
    answer = api.get(TABLE, headers={"apikey": sign("another project's secret, 32 bytes", {"role": "service_role"})})

    assert (answer.status_code, answer.json()["message"]) == (401, "Invalid API key")


def test_secret_and_service_role_keys_act_as_service_role(api: httpx.Client, local_stack_only: Stack) -> None:
    for key in (local_stack_only.secret_key, local_stack_only.service_role_key):
        for headers in ({"apikey": key}, {"apikey": key, **bearer(key)}, bearer(key)):
            assert api.get(TABLE, headers=headers).status_code == 200


def test_publishable_and_anon_keys_act_as_anon_who_may_do_nothing(api: httpx.Client, local_stack_only: Stack) -> None:
    for key in (local_stack_only.publishable_key, local_stack_only.anon_key):
        for headers in ({"apikey": key}, {"apikey": key, **bearer(key)}):
            answer = api.get(TABLE, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "42501")


def test_users_own_token_decides_whatever_the_key(api: httpx.Client, local_stack_only: Stack) -> None:
    api.post(
        "/rest/v1/sellers", headers={"apikey": local_stack_only.secret_key}, json={"name": "Potter"}
    ).raise_for_status()
    user = bearer(local_stack_only.user_token(uuid4()))

    for key in (local_stack_only.publishable_key, local_stack_only.secret_key):
        answer = api.get(TABLE, headers={"apikey": key, **user})
        assert (answer.status_code, answer.json()) == (200, [])


def test_expired_token_of_a_user_is_refused_by_the_data_api(api: httpx.Client, local_stack_only: Stack) -> None:
    expired = local_stack_only.user_token(uuid4(), lifetime=-60)

    answer = api.get(TABLE, headers={"apikey": local_stack_only.publishable_key, **bearer(expired)})

    assert (answer.status_code, answer.json()["code"]) == (401, "PGRST301")


def test_paths_outside_the_data_api_do_not_exist(api: httpx.Client, local_stack_only: Stack) -> None:
    headers = {"apikey": local_stack_only.secret_key}

    assert [api.get(path, headers=headers).status_code for path in ("/", "/auth/v1/health", "/rest/v2/x")] == [404] * 3


def test_encoded_paths_large_answers_and_empty_ones_pass_unchanged(api: httpx.Client, local_stack_only: Stack) -> None:
    headers = {"apikey": local_stack_only.secret_key}
    name = "Grün & Söhne, 100% / co" + "x" * 300_000

    created = api.post("/rest/v1/sellers", headers={**headers, "Prefer": "return=minimal"}, json={"name": name})
    found = api.get("/rest/v1/sellers", headers=headers, params={"name": "like.Grün & Söhne, 100% / co*"})
    head = api.head("/rest/v1/sellers", headers={**headers, "Prefer": "count=exact"}, params={"name": "eq.nobody"})

    assert (created.status_code, created.content) == (201, b"")
    assert [row["name"] for row in found.json()] == [name]
    assert (head.content, head.headers["content-range"]) == (b"", "*/0")


def test_missing_data_api_is_a_502_and_works_again_after_its_start(api: httpx.Client, local_stack_only: Stack) -> None:
    headers = {"apikey": local_stack_only.secret_key}
    local_stack_only.postgrest.kill()
    try:
        during = api.get(TABLE, headers=headers)
    finally:
        local_stack_only.postgrest.start()

    assert (during.status_code, "message" in during.json()) == (502, True)
    assert api.get(TABLE, headers=headers).status_code == 200
