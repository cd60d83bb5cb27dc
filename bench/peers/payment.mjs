// What the three JavaScript peers share: a verified event -> the call of the database function, and its answer.

const ZERO_DECIMALS = new Set(
  "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split(" "),
);
const THREE_DECIMALS = new Set("bhd jod kwd omr tnd".split(" "));
const RECONCILING = new Set([
  "checkout.session.completed",
  "checkout.session.async_payment_succeeded",
]);

export const FUNCTION = "reconcile_order_group_payment";

function major(minor, currency) {
  const decimals = ZERO_DECIMALS.has(currency) ? 0 : THREE_DECIMALS.has(currency) ? 3 : 2;
  if (decimals === 0) return String(minor);
  const digits = String(minor).padStart(decimals + 1, "0");
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}`;
}

/** The function's parameters, or null where there is nothing to reconcile. */
export function callOf(event) {
  if (!RECONCILING.has(event.type)) return null;
  const session = event.data.object;
  if (session.mode !== "payment" || session.payment_status === "unpaid") return null;
  const intent = session.payment_intent;
  return {
    p_order_group_id: session.metadata?.order_group_id || session.client_reference_id,
    p_stripe_event_id: event.id,
    p_stripe_event_type: event.type,
    p_stripe_event_created: new Date(event.created * 1000).toISOString(),
    p_livemode: event.livemode,
    p_checkout_session_id: session.id,
    p_payment_intent_id: typeof intent === "string" ? intent : (intent?.id ?? null),
    p_amount_minor: session.amount_total,
    p_amount: major(session.amount_total, session.currency),
    p_currency: session.currency,
    p_session_metadata: session.metadata ?? {},
  };
}

/** Status and body of the answer. */
export function answerTo(event, outcome, reason = null) {
  const status = outcome === "rejected" || outcome === "failed" ? 500 : 200;
  return [
    status,
    {
      received: true,
      outcome,
      reason,
      event_id: event.id,
      order_group_id: event.data.object.metadata?.order_group_id ?? null,
    },
  ];
}

/** Verify, normalise, one call, answer: what each of them does with a body and its signature. */
export async function deliver(stripe, supabase, secret, body, signature) {
  let event;
  try {
    // Deno has the web's cryptography, which only answers later.
    event = globalThis.Deno
      ? await stripe.webhooks.constructEventAsync(body, signature, secret)
      : stripe.webhooks.constructEvent(body, signature, secret);
  } catch {
    return [400, { received: false, outcome: "refused", reason: "invalid_signature" }];
  }
  const call = callOf(event);
  if (call === null) return answerTo(event, "ignored");
  const { data, error } = await supabase.rpc(FUNCTION, call);
  if (error) {
    console.error(JSON.stringify({ event_id: event.id, group: call.p_order_group_id, code: error.code }));
    return answerTo(event, "failed", "unexpected");
  }
  console.log(JSON.stringify({ event_id: event.id, group: call.p_order_group_id, outcome: data.outcome }));
  return answerTo(event, data.outcome, data.reason);
}
