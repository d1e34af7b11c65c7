"use strict";

// The button goes through what the system says, light and dark; the choice is kept where the browser allows it.
const THEMES = ["auto", "light", "dark"];
const root = document.documentElement;
const button = document.getElementById("theme");

function show(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  button.textContent = `Theme: ${theme}`;
}

function kept() {
  try {
    const theme = localStorage.getItem("auditlint-theme");
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

let current = kept();
show(current);
button.hidden = false;
button.addEventListener("click", () => {
  current = THEMES[(THEMES.indexOf(current) + 1) % THEMES.length];
  show(current);
  try {
    localStorage.setItem("auditlint-theme", current);
  } catch {
    // The choice lasts as long as the page then.
  }
});

// A heading sorts its table: numbers the largest first, texts from a to z, and the other way round the second time.
function sort(head) {
  const table = head.closest("table");
  const index = [...head.parentNode.children].indexOf(head);
  const numeric = head.classList.contains("number");
  const before = head.getAttribute("aria-sort");
  const falling = before ? before === "ascending" : numeric;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const key = (row) => row.cells[index].dataset.sort ?? row.cells[index].textContent;
  const order = numeric
    ? (a, b) => Number(key(a)) - Number(key(b))
    : (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true });
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort((a, b) => (falling ? order(b, a) : order(a, b))));
}

for (const head of document.querySelectorAll("th[data-sortable]")) {
  const control = document.createElement("button");
  control.type = "button";
  control.append(...head.childNodes);
  head.append(control);
  control.addEventListener("click", () => sort(head));
}

// Closed parts would be missing on paper.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
