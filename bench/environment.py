"""The settings of a server under test."""

from __future__ import annotations

import secrets


def settings(supabase_url: str, *, key: str = "", webhook_secret: str = "") -> dict[str, str]:
    """A relay's settings; secrets are made where none are given."""
    return {
        "STRIPE_SECRET_KEY": f"sk_test_{secrets.token_hex(12)}",
        "STRIPE_WEBHOOK_SECRET": webhook_secret or f"whsec_{secrets.token_hex(16)}",
        "SUPABASE_URL": supabase_url,
        "SUPABASE_SERVICE_ROLE_KEY": key or f"sb_secret_{secrets.token_hex(16)}",
        "NEXT_TELEMETRY_DISABLED": "1",
        "DENO_NO_UPDATE_CHECK": "1",
    }
