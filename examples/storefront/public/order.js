// The page that a buyer comes back to. It learns by itself what becomes of the payment, and believes the database alone: that
// somebody is here proves nothing.

import { basket, underway } from "./basket.js";
import { config, money, supabase } from "./buyer.js";

const $ = (id) => document.getElementById(id);
const SOON = 1500, LATER = 30_000; // milliseconds between two looks; the longer one where Realtime tells of changes
const LONG = 20_000; // milliseconds after which a payment takes longer than usual
const id = new URLSearchParams(location.search).get("id") ?? "";
const opened = Date.now();
let pause = SOON;
let timer;

const WORDS = {
  pending: ["Your payment is on its way to us.", "This takes a few seconds. The page changes by itself."],
  slow: ["Your payment is still on its way to us.", "This takes longer than usual. You need not do anything, and need not pay again: this page goes on looking."],
  awaiting: ["Thank you. Your bank is sending the money.", "A bank debit takes a few working days. We keep your pieces until then. You may close this page, and look again at the same address."],
  paid: ["Thank you. Your order is paid.", "The workshops are packing it now, each its own parcel."],
  refunded: ["You have your money back.", "This order was paid, and the whole amount was sent back to you."],
  expired: ["This order has expired.", "It was not paid in time, and the pieces went back to the shelf. You can order them again. If money was taken all the same, we send it back."],
  cancelled: ["This order was cancelled.", "The pieces went back to the shelf. If money was taken all the same, we send it back."],
  failed: ["Your bank did not pay.", "The debit failed, so we have cancelled the order. You can order again, and pay another way."],
  unknown: ["There is no such order of yours.", "You see your own orders only, in the browser in which you have ordered."],
  unreachable: ["Your order cannot be seen right now.", "That says nothing about your payment. This page goes on trying."],
};
const FINAL = ["paid", "refunded", "cancelled", "failed", "unknown"];

function stateOf(order) {
  if (!order) return "unknown";
  const overdue = order.expires_at !== null && new Date(order.expires_at) <= new Date();
  if (order.status === "cancelled") return order.awaiting_funds_since ? "failed" : overdue ? "expired" : "cancelled";
  if (order.status !== "pending") return order.status;
  if (order.awaiting_funds_since) return "awaiting";
  if (overdue) return "expired";
  return Date.now() - opened > LONG ? "slow" : "pending";
}

function show(state) {
  if ($("state").dataset.state === state) return;
  const [heading, text] = WORDS[state];
  $("state").dataset.state = state;
  $("state").querySelector("h1").textContent = heading;
  $("state").querySelector("p").textContent = text;
  document.title = `${heading} – Field & Fire`;
}

function list(order) {
  $("number").textContent = id;
  $("total").textContent = money(order.total_amount, order.currency);
  const title = (part) => part.order_items[0].title;
  const parts = order.orders.sort((a, b) => title(a).localeCompare(title(b)));
  $("parcels").replaceChildren(...parts.map((part, place) => {
    const parcel = $("parcel").content.cloneNode(true);
    parcel.querySelector("h3").textContent = parts.length > 1 ? `Parcel ${place + 1} of ${parts.length}` : "Your parcel";
    parcel.querySelector("ul").replaceChildren(...part.order_items.map((item) => {
      const line = document.createElement("li");
      const price = Object.assign(document.createElement("span"), { className: "price" });
      price.textContent = money(item.unit_amount * item.quantity, order.currency);
      line.append(`${item.quantity} × ${item.title} `, price);
      return line;
    }));
    return parcel;
  }));
  $("contents").hidden = false;
}

async function look() {
  clearTimeout(timer);
  const { data: order, error } = await supabase
    .from("order_groups")
    .select("status,currency,total_amount::text,expires_at,awaiting_funds_since,orders(id,order_items(id,title,quantity,unit_amount::text))")
    .eq("id", id)
    .order("title", { referencedTable: "orders.order_items" })
    .maybeSingle();
  const state = error ? "unreachable" : stateOf(order);
  if (order && $("contents").hidden) list(order);
  show(state);
  // What was bought leaves the basket, once it is bought.
  if (["paid", "awaiting"].includes(state) && underway.get()?.order_group_id === id) {
    basket.clear();
    underway.end();
  }
  if (!FINAL.includes(state)) timer = setTimeout(look, Date.now() - opened > LONG ? LATER : pause);
}

// Realtime says at once what changes, to those who may read it; without it, or when it falls silent, looking often does.
async function listen() {
  await supabase.realtime.setAuth(); // as the buyer from the first message on
  supabase
    .channel(`order-${id}`)
    .on("postgres_changes", { event: "UPDATE", schema: "public", table: "order_groups", filter: `id=eq.${id}` }, look)
    .subscribe((status) => {
      pause = status === "SUBSCRIBED" ? LATER : SOON;
      look();
    });
}

const { data } = await supabase.auth.getSession();
if (!data.session || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) show("unknown");
else if (config.realtime) listen();
else look();
addEventListener("visibilitychange", () => document.hidden || FINAL.includes($("state").dataset.state) || look());
