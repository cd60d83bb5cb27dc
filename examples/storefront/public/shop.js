// The shelves and the basket.

import { basket, underway } from "./basket.js";
import { money, post, supabase } from "./buyer.js";

const $ = (id) => document.getElementById(id);
const MOST_PIECES = 99;
let products = new Map();
let currency = "EUR";

async function load() {
  try {
    const answer = await fetch("/api/products");
    if (!answer.ok) throw new Error(answer.statusText);
    const catalogue = await answer.json();
    currency = catalogue.currency;
    products = new Map(catalogue.products.map((product) => [product.product_id, product]));
    $("goods-note").textContent = "";
  } catch {
    $("goods-note").textContent = "The shelves cannot be seen right now. Please try again in a moment.";
  }
  show();
}

const most = (product) => Math.max(0, Math.min(MOST_PIECES, product.available));

function stock(product) {
  if (product.available <= 0) return "sold out";
  if (product.available === 1) return "the last one";
  return product.available <= 5 ? `only ${product.available} left` : "in stock";
}

function card(product) {
  const item = $("product").content.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  const inBasket = basket.lines[product.product_id] ?? 0;
  find("use").setAttribute("href", `/goods.svg#${product.picture}`);
  find("h2").textContent = product.name;
  find(".seller").textContent = product.seller;
  find(".text").textContent = product.text;
  find(".price").textContent = money(product.price, currency);
  find(".available").textContent = stock(product);
  find(".product").classList.toggle("gone", product.available <= 0);
  const button = find("button");
  button.dataset.add = product.product_id;
  button.disabled = inBasket >= most(product);
  button.textContent = product.available <= 0 ? "Sold out" : inBasket ? `Add another (${inBasket})` : "Add to basket";
  button.setAttribute("aria-label", `${button.textContent}: ${product.name}`);
  return item;
}

function line(product, pieces) {
  const item = $("line").content.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  const input = find("input");
  input.id = `pieces-${product.product_id}`;
  input.dataset.pieces = product.product_id;
  input.max = most(product);
  input.value = pieces;
  find("label").htmlFor = input.id;
  find("label").textContent = product.name;
  find(".price").textContent = money(product.price * pieces, currency);
  find("button").dataset.remove = product.product_id;
  find("button").setAttribute("aria-label", `Remove: ${product.name}`);
  return item;
}

// Draws everything anew, and leaves the keyboard where it was.
function show() {
  const place = document.activeElement?.matches("[data-add], [data-pieces]") ? { ...document.activeElement.dataset } : null;
  $("goods").replaceChildren(...[...products.values()].map(card));
  const lines = Object.entries(basket.lines).filter(([id]) => products.has(id));
  $("lines").replaceChildren(...lines.map(([id, pieces]) => line(products.get(id), pieces)));
  const total = lines.reduce((sum, [id, pieces]) => sum + products.get(id).price * pieces, 0);
  $("total").textContent = money(total, currency);
  $("checkout").querySelector(".pay").textContent = `Pay ${money(total, currency)}`;
  $("checkout").hidden = lines.length === 0;
  $("empty").hidden = lines.length > 0;
  $("pieces").textContent = lines.reduce((sum, [, pieces]) => sum + pieces, 0);
  for (const [name, id] of Object.entries(place ?? {})) {
    (document.querySelector(`[data-${name}="${id}"]:enabled`) ?? $("basket")).focus({ preventScroll: true });
  }
}

function tell(words, tone = "plain") {
  $("note").dataset.tone = tone;
  $("note").replaceChildren(...words.map((sentence) => Object.assign(document.createElement("p"), { textContent: sentence })));
  if (tone !== "plain") $("note").focus();
}

// Says who was faster at what, and takes out of the basket what is not there any more.
function adjust(lines) {
  const sentences = lines.map(({ product_id: id, available }) => {
    const { name } = products.get(id);
    products.get(id).available = Math.max(0, available);
    basket.put(id, Math.max(0, available));
    return available > 0 ? `Of “${name}” only ${available} can be had.` : `“${name}” is sold out.`;
  });
  return ["Somebody was faster than you.", ...sentences, "We have changed your basket. You have paid nothing."];
}

const TRY_AGAIN = ["The payment page cannot be opened right now.", "You have paid nothing. Please try again in a moment."];
const REFUSALS = {
  insufficient_stock: (lines) => adjust(lines),
  order_group_differs: () => ["Prices have changed meanwhile.", "Please look at your basket, and pay again."],
  order_is_paid: () => ["This basket is paid already."],
  order_is_cancelled: () => ["That took too long, and your order was given up.", "You have paid nothing. Please pay again."],
  order_is_pending: () => ["That took too long, and your order was given up.", "You have paid nothing. Please pay again."],
};

async function pay(event) {
  event.preventDefault();
  const button = $("checkout").querySelector(".pay");
  if (button.ariaDisabled === "true") return;
  button.ariaDisabled = "true";
  button.textContent = "One moment …";
  tell([]);
  // The same basket is the same order: whoever presses twice, or loses the connection, pays once.
  const lines = { ...basket.lines };
  const orderGroupId = sameBasket(underway.get(), lines) ?? crypto.randomUUID();
  underway.set({ order_group_id: orderGroupId, lines });
  const { status, body } = await post("/api/checkout", { order_group_id: orderGroupId, lines });
  if (body.url) {
    underway.set({ order_group_id: orderGroupId, lines, checkout_session_id: body.checkout_session_id });
    location.assign(body.url);
    return;
  }
  if (status === 401) await supabase.auth.signOut({ scope: "local" });
  if (body.reason) underway.end();
  button.ariaDisabled = "false";
  await load();
  tell(REFUSALS[body.reason]?.(body.lines) ?? TRY_AGAIN, "refused");
  show();
}

function sameBasket(checkout, lines) {
  const sorted = (object) => JSON.stringify(Object.entries(object).sort());
  return checkout && sorted(checkout.lines) === sorted(lines) ? checkout.order_group_id : null;
}

// Back from the payment page by its own link or by the browser's button: the order is given up, and the stock is free.
async function comeBack() {
  $("checkout").querySelector(".pay").ariaDisabled = "false";
  const checkout = underway.get();
  if (checkout?.checkout_session_id) {
    const { body } = await post("/api/leave", { checkout_session_id: checkout.checkout_session_id });
    if (body.reason === "order_is_paid") {
      location.assign(`/order?id=${checkout.order_group_id}`);
      return;
    }
    underway.end();
  }
  await load();
  if (checkout?.checkout_session_id) {
    tell(["You have left the payment page, and paid nothing.", "Your basket is as it was."], "left");
  }
}

$("goods").addEventListener("click", ({ target }) => {
  const id = target.dataset.add;
  if (!id) return;
  basket.put(id, (basket.lines[id] ?? 0) + 1);
  tell([`${products.get(id).name}: ${basket.lines[id]} in your basket.`]);
  show();
});
$("lines").addEventListener("click", ({ target }) => {
  if (!target.dataset.remove) return;
  basket.put(target.dataset.remove, 0);
  show();
  $("basket").focus();
});
$("lines").addEventListener("change", ({ target }) => {
  if (!target.checkValidity()) return void target.reportValidity();
  basket.put(target.dataset.pieces, target.valueAsNumber);
  show();
});
$("checkout").addEventListener("submit", pay);
// A page that the browser has kept comes back as it was left.
addEventListener("pageshow", (event) => event.persisted && comeBack());
comeBack();
