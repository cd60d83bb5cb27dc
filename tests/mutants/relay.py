"""Faults of the relay: `make relay-mutants` sows one at a time into a copy. The files are named from relay/ on."""

# ruff: noqa: E501  a line for each fault reads as a table

from __future__ import annotations

from sql_tests.mutants.mutant import Mutant

SHARED = ("tests/server/test_shared_calls.py",)
COUNTERS = ("tests/server/test_counters.py",)
CONFIG = ("tests/test_config.py",)
FAILURES = ("tests/data_api/test_failures.py",)
TRANSPORT = ("tests/data_api/test_transport.py",)
NAMES = ("tests/data_api/test_tls_names.py",)
SIGNATURE = ("tests/server/test_signature.py", "tests/server/test_webhook.py")
WEBHOOK = ("tests/server/test_webhook.py",)
HOSTILE = ("tests/server/test_hostile.py",)
UNREAD = ("tests/server/test_unread_answers.py",)
LOG = ("tests/server/test_log_writer.py",)
TELEMETRY = ("tests/server/test_telemetry.py",)
READINESS = ("tests/server/test_readiness.py",)
DESCRIPTORS = ("tests/server/test_descriptors.py",)
ENDPOINT = ("tests/commands/test_endpoint.py",)
LINES = ("tests/server/test_log_lines.py",)
REVERSALS = ("tests/commands/test_sweep_of_reversals.py",)
DESK = ("tests/commands/test_desk_door.py", "tests/commands/test_desk_pages.py", "tests/commands/test_desk_forms.py")
LIFE = ("tests/server/test_process_life.py",)
WORKERS = ("tests/server/test_workers.py",)
LIFECYCLE = ("tests/server/test_lifecycle_route.py",)
REPORT = ("tests/commands/test_report.py",)
EXPIRE = ("tests/commands/test_expire.py",)
OPERATORS = ("tests/commands/test_operators.py",)
CHECKOUT = ("tests/core/test_checkout.py",)
LIFECYCLE_CORE = ("tests/core/test_lifecycle.py",)

_LISTED: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    # Secrets that are seen, and endpoints that are made twice
    ("secret_in_the_sdks_log", "commands/endpoint.py", '        stripe.log = "info"', "        stripe.log = None", ENDPOINT),
    ("endpoint_made_twice", "commands/stripe_api.py", "create_async(parameters, options)", "create_async(parameters)", ENDPOINT),
    ("endpoint_beside_another", "commands/endpoint.py", "        if there:\n", "        if there is None:\n", ENDPOINT),
    ("endpoint_beside_a_slash", "commands/stripe_endpoints.py", 'address.rstrip("/") == url', "address == url", ENDPOINT),
    ("key_of_another_project", "config.py", "and named != hosted[1]", "and named == hosted[1]", ("tests/commands/test_check.py",)),
    ("cursor_moved_by_the_log", "server/log_lines.py", "one if one.isprintable() else", "one if one else", LINES),
    # Counters that leak, gauges that nobody sets
    ("in_flight_stays", "server/deliveries.py", "            self._in_flight -= 1\n", "", COUNTERS),
    ("in_flight_gauge_stays", "server/deliveries.py", "            self._telemetry.metrics.in_flight.dec()\n", "", COUNTERS),
    ("in_flight_gauge_unset", "server/deliveries.py", "        self._telemetry.metrics.in_flight.inc()\n", "", COUNTERS),
    ("waiting_gauge_stays", "data_api/client.py", "            self._metrics.rpcs_waiting.dec()\n", "            pass\n", COUNTERS),
    ("waiting_gauge_unset", "data_api/client.py", "        self._metrics.rpcs_waiting.inc()\n", "", COUNTERS),
    ("place_stays", "data_api/places.py", "        self.leave()\n", "        pass\n", COUNTERS),
    ("shared_uncounted", "data_api/client.py", "observe(len(payments))", "observe(1)", SHARED),
    (
        "large_place_stays",
        "server/deliveries.py",
        "await place.enter_async_context(large_bodies)",
        "await large_bodies.acquire()",
        COUNTERS,
    ),
    ("connection_is_never_left", "server/connection_limit.py", "        self.open -= 1\n", "        self.open -= 0\n", DESCRIPTORS),
    ("refusals_uncounted", "server/connection_limit.py", "metrics.connections_refused.inc()", "metrics.connections_refused.inc(0)", DESCRIPTORS),
    ("ready_unset", "server/readiness.py", "self._metrics.ready.set(all(check.ok for check in checks))", "pass", COUNTERS),
    ("losses_uncounted", "server/telemetry.py", "        log.on_loss = metrics.lines_lost.inc\n", "", LOG),
    ("retries_uncounted", "data_api/client.py", "            self._metrics.rpc_retries.labels(failure.reason).inc()\n", "", COUNTERS),
    # Durations and units
    ("seconds_for_milliseconds", "server/telemetry.py", "round(seconds * 1000, 1)", "round(seconds, 1)", COUNTERS),
    ("milliseconds_for_seconds", "server/telemetry.py", "delivery_seconds.observe(seconds)", "delivery_seconds.observe(seconds * 1000)", COUNTERS),
    ("rpc_unmeasured", "data_api/client.py", "observe(time.perf_counter() - started)", "observe(0.0)", COUNTERS),
    # Retry rules inverted
    ("retries_all", "data_api/client.py", "            if not failure.retryable:\n", "            if False:\n", FAILURES),
    ("retries_the_opposite", "data_api/client.py", "if not failure.retryable:", "if failure.retryable:", FAILURES),
    ("deadlock_is_final", "data_api/failures.py", 'retryable=code == "40P01"', "retryable=False", FAILURES),
    ("lock_timeout_again", "data_api/failures.py", 'retryable=code == "40P01"', 'retryable=code in ("40P01", "55P03")', FAILURES),
    ("timeout_again", "data_api/failures.py", " and not isinstance(error, TimeoutError)", "", TRANSPORT),
    # What is no verdict
    ("read_only_unknown", "data_api/failures.py", '    ("25006", Reason', '    ("25P06", Reason', FAILURES),
    ("replica_unknown", "data_api/failures.py", '    ("0A000", Reason', '    ("0AXXX", Reason', FAILURES),
    ("schema_unknown", "data_api/failures.py", '    ("PGRST106", Reason', '    ("PGRSTX06", Reason', FAILURES),
    ("bill_unknown", "data_api/failures.py", "in (402, 408, 429)", "in (408, 429)", FAILURES),
    # Money of two modes under the name of one
    ("other_mode_is_the_own", "commands/report_page/figures.py", 'other = "test" if self.mode == "live" else "live"', "other = self.mode", REPORT),
    ("other_mode_is_test", "commands/report_page/figures.py", 'other = "test" if self.mode == "live" else "live"', 'other = "test"', REPORT),
    ("other_mode_off_stderr", "commands/report/command.py", "            output.complain(facts.other_mode)\n", "            pass\n", REPORT),
    ("other_mode_unread", "commands/report/command.py", '"other_mode": facts.other_mode}', '"other_mode": None}', REPORT),
    ("other_mode_off_the_terminal", "commands/report/command.py", '        parts.append(f"{facts.other_mode}\\n")\n', "        pass\n", REPORT),
    ("refunds_are_no_drift", "commands/sweep_lists.py", "        for kind in KINDS\n        for name", "        for kind in KINDS[1:]\n        for name", REPORT),
    ("dry_run_leaves_nothing", "commands/sweep_lists.py", " + sum(count for count, _, _ in _undone(sweep))", "", REPORT),
    ("dry_run_has_applied", "commands/sweep_lists.py", 'return sweep.get("dry_run") is True', "return False", REPORT),
    ("drift_off_the_sweeps_exit_status", "commands/sweep/command.py", "NO if sweep_lists.differences(told) else OK", "OK", REVERSALS),
    ("search_without_order_groups", "commands/desk/search.py", 'found["order_groups"], exceptions', "[], exceptions", DESK),
    ("refund_behind_its_exception", "commands/desk/search.py", "not (self.groups or self.reversals)", "not self.groups", DESK),
    ("other_mode_off_the_desk", "commands/desk/pages.py", ', mode="live" if self._desk.livemode else "test"', "", DESK),
    # Which paid sessions keep an order group from being ended
    ("settled_is_kept", "commands/expire/expiry.py", "if not await self._is_settled(session):", "if True:", EXPIRE),
    ("unsettled_is_ended", "commands/expire/expiry.py", "if not await self._is_settled(session):", "if False:", EXPIRE),
    ("resolved_is_unsettled", "commands/preview.py", "self.is_known or self.is_resolved", "self.is_known", EXPIRE),
    ("first_session_decides", "commands/expire/expiry.py", '== _COMPLETE], group)', "== _COMPLETE][:1], group)", EXPIRE),
    ("visitor_holds_up", "commands/expire/expiry.py", "elif checkout.is_named_by_the_shop(session):", "else:", EXPIRE),
    ("debit_is_ended", "commands/expire/expiry.py", "elif checkout.is_named_by_the_shop(session):", "elif False:", EXPIRE),
    # What is found and what is not
    ("found_without_a_group", "commands/explain.py", "return any(found.values())", 'return bool(found["order_groups"])', OPERATORS),
    ("unknown_is_found", "commands/explain.py", "return any(found.values())", "return True", OPERATORS),
    # What was closed for good, though the command ended early
    ("closed_and_untold", "commands/exceptions.py", "        bar.clear()\n        if arguments.json:", "        bar.clear()\n    if True:\n        if arguments.json:", OPERATORS),
    ("one_too_many_untried", "commands/exceptions.py", "len(ids) - done - 1", "len(ids) - done", OPERATORS),
    # Limits
    ("unkept_metadata_kept", "core/checkout.py", "            if keys is None or key in keys\n", "", CHECKOUT),
    ("unkept_metadata_measured", "core/checkout.py", "json.dumps(kept, ensure_ascii=False)", "json.dumps(metadata, ensure_ascii=False)", CHECKOUT),
    ("reference_left_out", "core/checkout.py", "        kept |= {_REFERENCE}\n", "        pass\n", CHECKOUT),
    ("verdict_of_any_length", "data_api/transport.py", "MAX_VERDICT_BYTES if target.name in _VERDICTS else MAX_ANSWER_BYTES", "MAX_ANSWER_BYTES", TRANSPORT),
    ("verdict_one_longer", "data_api/transport.py", "if len(body) > longest:", "if len(body) > longest + 1:", TRANSPORT),
    ("report_too_short", "data_api/transport.py", "MAX_ANSWER_BYTES: Final = 32", "MAX_ANSWER_BYTES: Final = 8", TRANSPORT),
    ("parts_left_out", "data_api/transport.py", "if auth is not None or others:", "if False:", TRANSPORT),
    ("queue_one_longer", "data_api/client.py", "(self._places.waiting) >= MAX_WAITING", "(self._places.waiting) > MAX_WAITING", FAILURES),
    ("body_one_longer", "server/deliveries.py", "    if len(body) > MAX_BODY_BYTES:\n", "    if len(body) > MAX_BODY_BYTES + 1:\n", WEBHOOK),
    ("unread_without_end", "server/connections.py", "        super().pause_writing()\n        self._limit_reading()\n", "        super().pause_writing()\n", UNREAD),
    ("late_reader_cut", "server/connections.py", "            self._reading_deadline.cancel()\n            self._reading_deadline = None\n", "            pass\n", UNREAD),
    ("left_at_the_end", "server/connections.py", "            each.abort()\n", "            pass\n", UNREAD),
    ("closing_without_end", "server/connections.py", "            await super().start()\n        finally:\n            self._limit_closing()\n", "            await super().start()\n        finally:\n            pass\n", UNREAD),
    ("head_without_end", "server/connections.py", "            self.force_close()\n", "            pass\n", HOSTILE),
    ("connections_without_end", "server/connection_limit.py", "if self.open < self.size:", "if True:", DESCRIPTORS),
    ("episode_at_each", "server/connection_limit.py", "            self.is_full = True\n", "", DESCRIPTORS),
    ("all_accepted_at_once", "server/connection_limit.py", "min(backlog, _ACCEPTED_AT_ONCE)", "backlog", DESCRIPTORS),
    ("log_without_end", "server/log_writer.py", "if self._lines.qsize() < MOST_WAITING:", "if True:", LOG),
    ("torn_line", "server/log_writer.py", 'b"\\n" if self._is_torn else b""', 'b""', LOG),
    ("batch_dropped", "server/log_writer.py", "                    batch.append(line)\n", "", LOG),
    # Two headers of one name, the third secret, both signs of the clock
    ("first_header_counts", "server/deliveries.py", 'request.headers.getall("Stripe-Signature", ())', 'request.headers.getall("Stripe-Signature", ())[:1]', SIGNATURE),
    ("two_secrets_at_most", "server/deliveries.py", "            secrets=[secret.reveal() for secret in route.secrets],\n", "            secrets=[secret.reveal() for secret in route.secrets[:2]],\n", SIGNATURE),
    ("skew_of_one_sign", "server/readiness.py", "abs(skew) <= tolerance / 2", "skew <= tolerance / 2", READINESS),
    ("skew_of_the_other", "server/readiness.py", "abs(skew) <= tolerance / 2", "-skew <= tolerance / 2", READINESS),
    # Names and certificates
    ("any_certificate", "data_api/transport.py", "ssl=httpx.create_ssl_context()", "ssl=False", NAMES),
    ("nameless", "data_api/transport.py", ', "User-Agent": USER_AGENT', "", NAMES),
    ("nameless_to_stripe", "commands/stripe_api.py", "stripe.set_app_info(NAME, version=__version__)", "pass", NAMES),
    ("numeric_nearby", "config.py", " or (_NUMERIC.fullmatch(host) and not _is_address(host))", "", CONFIG),
    ("mapped_nearby", "config.py", "        address = address.ipv4_mapped", "        pass", CONFIG),
    ("hosts_case", "config.py", "url.netloc.lower()", "url.netloc", CONFIG),
    ("missing_certificates", "config.py", "{_CERTIFICATES: fault} if fault else {}", "{}", LIFE),
    ("hangup_kills", "server/serving.py", '("SIGTERM", "SIGINT", "SIGHUP")', '("SIGTERM", "SIGINT")', LIFE),
    ("proxy_unnamed", "server/serving.py", "    if name := unused_proxy(settings):", "    if name := None:", LIFE),
    # Who shares a call, who leaves it, and what follows from its end
    ("one_too_many_together", "data_api/places.py", "len(together) < MOST_TOGETHER", "len(together) <= MOST_TOGETHER", SHARED),
    ("metadata_without_end", "data_api/places.py", " or metadata > MOST_METADATA", "", SHARED),
    ("notice_among_payments", "data_api/places.py", "waiting.payment is None or ", "", SHARED),
    ("payments_with_a_notice", "data_api/places.py", "            if waiting.payment is None:\n                break\n", "", SHARED),
    ("together_without_the_function", "data_api/places.py", "not self.shares or ", "", SHARED),
    ("long_calls_keep_their_places", "data_api/places.py", "self._places.count(out=0, quick=-1)", "pass", SHARED),
    ("beside_without_end", "data_api/places.py", "is_quick=False) if self._out < self._most else None", "is_quick=False)", SHARED),
    ("one_ends_the_call_of_all", "data_api/places.py", "if all(answer.cancelled()", "if any(answer.cancelled()", SHARED),
    ("call_that_nobody_waits_for", "data_api/places.py", "                call.cancel()\n", "                pass\n", SHARED),
    ("turn_lost", "data_api/places.py", "turn.leave() if isinstance(turn, Place) else turn.cancel()", "pass", SHARED),
    ("any_number_of_answers", "core/outcomes.py", "len(data) != len(payments)", "False", SHARED),
    ("answer_to_another_event", "core/outcomes.py", 'answer.get("stripe_event_id") != payment["p_stripe_event_id"]', "False", SHARED),
    ("answer_about_another_group", "core/outcomes.py", 'answer.get("order_group_id", "") != payment["p_order_group_id"]', "False", SHARED),
    ("deferred_is_final", "data_api/failures.py", 'retryable=answer["outcome"] == "deferred"', "retryable=False", SHARED),
    ("failed_again", "data_api/failures.py", 'retryable=answer["outcome"] == "deferred"', "retryable=True", SHARED),
    ("down_and_called_again", "data_api/client.py", "failure.retryable |= failure.reason in _FAULTS_OF_THE_CALL", "failure.retryable = True", SHARED),
    ("fault_of_the_call_is_final", "data_api/client.py", "failure.retryable |= failure.reason in _FAULTS_OF_THE_CALL", "pass", SHARED),
    ("missing_function_again", "data_api/client.py", "                self._share(False)\n", "                pass\n", SHARED),
    ("missing_function_for_ever", "data_api/client.py", "0.0 if shares else time.monotonic()", "3e9 if shares else time.monotonic()", SHARED),
    # Who may come into the desk, and what may be on its pages
    ("link_used_unseen", "commands/desk/door.py", "        if _same(token, self._used):\n            raise UsedLink\n", "", DESK),
    ("link_never_used_up", "commands/desk/door.py", "        self._used, self._token = self._token, None\n", "", DESK),
    ("inside_without_the_cookie", "commands/desk/door.py", 'return self._token is None and _same(request.cookies.get(self.cookie, ""), self._session)', "return self._token is None", DESK),
    ("cookie_for_every_port", "commands/desk/door.py", 'path=self.root, httponly', 'path="/", httponly', DESK),
    ("path_of_every_desk", "commands/desk/door.py", 'f"/{secrets.token_urlsafe(_PATH_BYTES)}"', '"/" + "x" * 22', DESK),
    ("outside_of_the_path", "commands/desk/app.py", "            return web.Response(status=404, headers=HEADERS)\n", '            place = ""\n', DESK),
    ("lost_by_a_redirect", "commands/desk/app.py", '= root + redirect.headers["Location"]', '= redirect.headers["Location"]', DESK),
    ("session_unchecked", "commands/desk/app.py", "                door.check_session(request)\n", "                pass\n", DESK),
    ("host_unchecked", "commands/desk/app.py", "            door.check_address(request)\n", "", DESK),
    ("origin_unchecked", "commands/desk/app.py", "                door.check_origin(request)\n", "", DESK),
    ("form_key_unchecked", "commands/desk/app.py", "door.check_form(await _form(request))", "await _form(request)", DESK),
    ("cookie_for_scripts", "commands/desk/door.py", "httponly=True", "httponly=False", DESK),
    ("cookie_for_other_sites", "commands/desk/door.py", 'samesite="Strict"', 'samesite="Lax"', DESK),
    ("no_strict_headers", "commands/desk/app.py", "        response.headers.update(HEADERS)\n", "", DESK),
    ("looking_ahead_uses_the_link", "commands/desk/app.py", 'if "prefetch" in request', 'if "prefetched" in request', DESK),
    ("open_to_the_network", "commands/desk/command.py", "socket.create_server((HOST, port))", 'socket.create_server(("", port))', DESK),
    ("markup_of_strangers", "commands/html.py", "autoescape=True", "autoescape=False", DESK),
    ("directions_of_strangers", "commands/html.py", "        finalize=printable,\n", "", DESK),
    ("metadata_on_the_page", "commands/desk/pages.py", "row: ListedException = without_metadata(found)", "row: ListedException = found", DESK),
    ("later_ones_resolved_too", "commands/desk/pages.py", '            conditions.append(("id", "lte", str(upto)))\n', "            pass\n", DESK),
    ("nobody_was_faster", "commands/desk/actions.py", 'if row is None or row["status"] == "open":', "if True:", DESK),
    ("crowd_of_scrapes", "server/app.py", "        await asyncio.sleep(0)\n", "", ("tests/server/test_counters.py",)),
    # The lifecycle route
    ("refunds_take_places", "server/app.py", "data_api.apart(client.MAX_LIFECYCLE_CALLS)", "data_api", LIFECYCLE),
    ("route_always_there", "server/app.py", "    if settings.stripe_lifecycle_webhook_secrets:\n", "    if True:\n", LIFECYCLE),
    ("no_slash", "server/app.py", 'in (path, f"{path}/")', "in (path,)", LIFECYCLE),
    ("webhooks_secrets", "server/lifecycle.py", "Route(settings.stripe_lifecycle_webhook_secrets", "Route(settings.stripe_webhook_secrets", LIFECYCLE),
    ("groupless_record", "server/lifecycle.py", "                delivery.order_group_id = recorded.order_group_id\n", "", LIFECYCLE),
    ("sessionless_cancel", "data_api/client.py", ', "p_checkout_session_id": ended.session_id', "", LIFECYCLE),
    ("eventless_record", "data_api/parameters.py", '"p_stripe_event_id": reversal.event_id', '"p_stripe_event_id": None', LIFECYCLE),
    ("old_times_unasked", "commands/sweep/reversals.py", "        listed |= await self._ask_for([one for one in self._on_record.values() if one.id not in listed])\n", "", REVERSALS),
    ("disputed_is_set_aside", "commands/sweep/order_groups.py", 'if row["reason"] != Reason.PAYMENT_DISPUTED:', "if True:", REVERSALS),
    ("late_is_drift", "commands/sweep/reversals.py", "                found[reversal.id] = reversal\n", "                findings.here_only.append(_finding_here(recorded, NOT_FOUND))\n", REVERSALS),
    ("not_found_is_fine", "commands/sweep/reversals.py", "                findings.here_only.append(_finding_here(recorded, NOT_FOUND))\n", "                pass\n", REVERSALS),
    ("simulated_are_asked_for", "commands/sweep/reversals.py", "if self._rules.livemode or not is_made_up(one.id)]", "]", REVERSALS),
    ("any_failure_is_not_found", "commands/stripe_api.py", "        if error.http_status == 404:\n            return None\n        raise StripeUnavailable(_describe(error)) from None\n    one", "        return None\n    one", REVERSALS),
    ("another_refund", "core/outcomes.py", "data.get(key) != reversal_id", "False", LIFECYCLE),
    ("free_refund", "core/lifecycle.py", "not 0 < amount", "not 0 <= amount", LIFECYCLE_CORE),
    ("true_is_an_amount", "core/lifecycle.py", "type(amount) is not int", "not isinstance(amount, int)", LIFECYCLE_CORE),
    ("any_mode", "core/lifecycle.py", "    if livemode is not rules.livemode:\n", "    if False:\n", LIFECYCLE_CORE),
    ("any_mode_of_its_own", "core/lifecycle.py", "    if own_mode is not livemode:\n", "    if False:\n", LIFECYCLE_CORE),
    ("any_account", "core/lifecycle.py", "    if not rules.accounts.issuperset(accounts):\n", "    if False:\n", LIFECYCLE_CORE),
    ("any_session_mode", "core/lifecycle.py", 'if session.get("mode") != "payment":', "if False:", LIFECYCLE_CORE),
    ("visitors_reference", "core/lifecycle.py", " or not is_named_by_the_shop(session)", "", LIFECYCLE_CORE),
    ("visitors_debit", "core/checkout.py", " and self.is_named_by_the_shop", "", CHECKOUT),
    ("any_status", "core/lifecycle.py", " or status not in STATUSES[kind]", "", LIFECYCLE_CORE),
    ("thin_counts", "core/checkout.py", "    if is_listed and event.body.get(\"object\") == THIN_EVENT:\n        raise ThinEvent\n", "", LIFECYCLE_CORE),
    ("anything_is_an_event", "core/event.py", "    if body.get(\"object\", \"event\") not in (\"event\", THIN_EVENT):\n        raise MalformedEvent\n", "", CHECKOUT),
    ("password_printed", "commands/simulate/command.py", "re.sub(\"//[^/?#]*@\", \"//\", url, count=1)", "url", ("tests/commands/test_simulate.py",)),
    ("streams_stay_closed", "cli.py", "    _open_closed_streams()\n    if", "    if", DESCRIPTORS),
    ("all_is_well_unread", "cli.py", "            _flush_stdout()\n    except", "            _flush_stdout()\n    except BrokenPipeError:\n        output.discard(sys.stdout)\n        return OK\n    except", ("tests/test_cli.py", "tests/commands/test_endpoint.py")),
    ("hangup_restarts_workers", "server/gunicorn_settings.py", "    _take_signals(server)\n", "", WORKERS),
    ("hangup_ends_workers", "server/gunicorn_settings.py", "    signal.signal(signal.SIGHUP, signal.SIG_IGN)\n", "", WORKERS),
    ("second_signal_waits", "server/gunicorn_settings.py", "            signal.signal(number, second)\n", "            pass\n", WORKERS),
    ("workers_live_on", "server/gunicorn_settings.py", "        server.kill_workers(signal.SIGKILL)\n", "", WORKERS),
    ("nohup_forgotten", "server/gunicorn_settings.py", "first if number in _OBEYED else signal.SIG_IGN", "first", WORKERS),
)  # fmt: skip
MUTANTS = tuple(
    Mutant(name, "", f"relay/{file}", search, replace, killed_by) for name, file, search, replace, killed_by in _LISTED
)
SAMPLE = ("numeric_nearby",)
"""What the suite tries; `make relay-mutants` tries all."""
