import { secret, stripe, supabase } from "../../../../clients.mjs";
import { deliver } from "../../../../payment.mjs";

export const runtime = "nodejs";
export const dynamic = "force-dynamic";

export async function POST(request) {
  const [status, answer] = await deliver(
    stripe, supabase, secret, await request.text(), request.headers.get("stripe-signature"),
  );
  return Response.json(answer, { status });
}
