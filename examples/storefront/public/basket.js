// The basket is the browser's own: pieces by product id. Prices and stock are the server's.

const BASKET = "basket", CHECKOUT = "checkout";

function read() {
  try {
    return JSON.parse(localStorage.getItem(BASKET)) ?? {};
  } catch {
    return {};
  }
}

export const basket = {
  lines: read(),
  put(id, pieces) {
    if (pieces > 0) this.lines[id] = pieces;
    else delete this.lines[id];
    localStorage.setItem(BASKET, JSON.stringify(this.lines));
  },
  clear() {
    this.lines = {};
    localStorage.removeItem(BASKET);
  },
};

// The checkout that this tab is in: { order_group_id, checkout_session_id, lines }. Of the tab, because another one may be
// at the payment page meanwhile.
export const underway = {
  get: () => JSON.parse(sessionStorage.getItem(CHECKOUT)),
  set: (checkout) => sessionStorage.setItem(CHECKOUT, JSON.stringify(checkout)),
  end: () => sessionStorage.removeItem(CHECKOUT),
};
