"""Mails what became of an order group: reads the queue order_group_events, and finishes a message once its mail is out.

A worker that dies leaves its message in the queue, where it is seen again after HIDDEN_SECONDS: each mail is sent at
least once, and any number of workers may run. What fails time and again is set aside, in pgmq.a_order_group_events.
"""

import os
import smtplib
import ssl
import sys
import time
from email.message import EmailMessage
from typing import Any

import httpx
from supabase import AuthError, Client, PostgrestAPIError, create_client

HIDDEN_SECONDS = int(os.environ.get("HIDDEN_SECONDS", "60"))  # longer than a mail takes
MOST_READS = int(os.environ.get("MOST_READS", "5"))
PAUSE_SECONDS = float(os.environ.get("PAUSE_SECONDS", "5"))
SUBJECTS = {
    ("pending", "paid"): "Thank you: your order is paid",
    ("refunded", "paid"): "Your refund has failed: we are looking into it",
    ("pending", "cancelled"): "Your order was cancelled",
    ("paid", "refunded"): "Your money is on its way back",
    (None, "returned"): "Your goods have arrived back here",
}


def compose(database: Client, event: dict[str, Any]) -> EmailMessage:
    """The mail to the buyer; to the shop where no address is known, as of a guest."""
    groups = database.table("order_groups").select("buyer_id,currency,total:total_amount::text")
    group: Any = groups.eq("id", event["order_group_id"]).single().execute().data
    buyer = database.auth.admin.get_user_by_id(group["buyer_id"]).user if group["buyer_id"] else None
    mail = EmailMessage()
    mail["From"] = os.environ["MAIL_FROM"]
    mail["To"] = (buyer and buyer.email) or os.environ["MAIL_FROM"]
    mail["Subject"] = SUBJECTS[event["from_status"], event["event"]]
    mail["Message-ID"] = f"<order-group-event-{event['id']}@{mail['From'].addresses[0].domain}>"  # the same each time
    mail.set_content(f"Order {event['order_group_id']}: {group['total']} {group['currency']}, {event['at']}\n")
    return mail


def send(mail: EmailMessage) -> None:
    """Hand the mail to the mail server; only an encrypted connection gets the password."""
    with smtplib.SMTP(os.environ["SMTP_HOST"], int(os.environ.get("SMTP_PORT", "587")), timeout=20) as server:
        if user := os.environ.get("SMTP_USER"):
            server.starttls(context=ssl.create_default_context())
            server.login(user, os.environ["SMTP_PASSWORD"])
        server.send_message(mail)


def work(database: Client) -> bool:
    """Take one message, so that the time for which it is hidden is its own. Returns whether there was one."""
    asked = {"p_limit": 1, "p_seconds": HIDDEN_SECONDS}
    events: Any = database.rpc("read_order_group_events", asked).execute().data
    for event in events:
        done = "finish_order_group_event"
        if event["reads"] > MOST_READS:
            done = "set_aside_order_group_event"
        else:
            send(compose(database, event))
        database.rpc(done, {"p_id": event["id"]}).execute()
        print(done, event["id"], event["event"], event["order_group_id"], flush=True)
    return bool(events)


def main() -> None:
    """Work until the process is ended, at whatever point."""
    database = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SERVICE_ROLE_KEY"])
    while True:
        try:
            found = work(database)
        except (OSError, smtplib.SMTPException, httpx.HTTPError, PostgrestAPIError, AuthError) as error:
            # Its words may hold the buyer's address.
            print("failed, comes again:", type(error).__name__, file=sys.stderr, flush=True)
            found = False
        if not found:
            time.sleep(PAUSE_SECONDS)  # pgmq is polled: it wakes nobody


if __name__ == "__main__":
    main()
