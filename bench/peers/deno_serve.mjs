// Deno.serve with the same two libraries, of the same node_modules.

import { secret, stripe, supabase } from "./clients.mjs";
import { deliver } from "./payment.mjs";

Deno.serve({ hostname: "127.0.0.1", port: Number(process.env.PORT), onListen() {} }, async (request) => {
  const [status, answer] = await deliver(
    stripe, supabase, secret, await request.text(), request.headers.get("stripe-signature"),
  );
  return Response.json(answer, { status });
});
