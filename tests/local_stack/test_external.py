"""The suites can run against a stack that somebody else started."""

from __future__ import annotations

import pytest

from local_stack.errors import StackError
from local_stack.external import ExternalStack
from local_stack.keys import sign

SETTINGS = {
    "SUPABASE_URL": "http://127.0.0.1:54321/",
    "SUPABASE_SERVICE_ROLE_KEY": sign("a secret of at least thirty-two bytes", {"role": "service_role"}),
    "SUPABASE_DB_URL": "postgresql://postgres:pass%40word@127.0.0.1:54322/postgres?sslmode=disable",
}


def test_settings_of_the_environment_describe_it() -> None:
    stack = ExternalStack(SETTINGS)

    assert stack.env()["SUPABASE_URL"] == "http://127.0.0.1:54321"
    assert stack.env()["SUPABASE_SERVICE_ROLE_KEY"] == SETTINGS["SUPABASE_SERVICE_ROLE_KEY"]
    expected = "postgresql://authenticator:pass%40word@127.0.0.1:54322/other?sslmode=disable"
    assert stack.dsn(user="authenticator", dbname="other") == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_missing_setting_is_named(name: str) -> None:
    with pytest.raises(StackError, match=name):
        ExternalStack({**SETTINGS, name: ""})


def test_users_tokens_need_the_projects_secret() -> None:
    with pytest.raises(StackError, match="SUPABASE_JWT_SECRET"):
        ExternalStack(SETTINGS).user_token("00000000-0000-4000-8000-000000000001")
