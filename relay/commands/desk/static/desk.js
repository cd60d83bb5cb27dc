// The pages work without this. It copies ids, ticks all boxes, counts them, and sends a form once.
"use strict";

for (const alert of document.querySelectorAll("[data-focus]")) alert.focus();

for (const id of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${id.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(id.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  id.after(" ", button);
}

const boxes = [...document.querySelectorAll("input[name=id]")];
const all = document.querySelector("[data-tick-all]");
const count = document.querySelector("[data-count]");

function tell() {
  const ticked = boxes.filter((box) => box.checked).length;
  if (count) count.textContent = ticked ? `: ${ticked}` : "";
  if (all) {
    all.checked = ticked > 0 && ticked === boxes.length;
    all.indeterminate = ticked > 0 && ticked < boxes.length;
  }
}

if (all && boxes.length) {
  document.querySelector("[data-all]").hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    tell();
  });
}
for (const box of boxes) box.addEventListener("change", tell);
tell();

for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    const button = form.querySelector("button[data-busy]");
    if (button) button.textContent = button.dataset.busy;
  });
}
// A page that the browser brings back from its memory may send again.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
