// Reads one case per line, and answers each with a line: does stripe-node take the delivery?
import { createInterface } from "node:readline";
import Stripe from "stripe";

const stripe = new Stripe("sk_test_none");

for await (const line of createInterface({ input: process.stdin })) {
  const { body, header, secret, tolerance, now } = JSON.parse(line);
  let accepted = true;
  try {
    const bytes = Buffer.from(body, "base64");
    stripe.webhooks.signature.verifyHeader(bytes, header, secret, tolerance, undefined, now * 1000);
  } catch (error) {
    if (error.type !== "StripeSignatureVerificationError") throw error;
    accepted = false;
  }
  console.log(accepted);
}
