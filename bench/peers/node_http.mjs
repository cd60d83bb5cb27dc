// node:http with stripe-node and supabase-js.

import { createServer } from "node:http";

import { secret, stripe, supabase } from "./clients.mjs";
import { deliver } from "./payment.mjs";

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const [status, answer] = await deliver(
    stripe, supabase, secret, Buffer.concat(chunks), request.headers["stripe-signature"],
  );
  const content = JSON.stringify(answer);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(content) });
  response.end(content);
});
server.keepAliveTimeout = 75_000;
server.listen(Number(process.env.PORT), "127.0.0.1", 1024);
