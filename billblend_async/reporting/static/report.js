"use strict";
// Filters and sorts the list of payouts. The page is complete without this.
const byId = (id) => document.getElementById(id);
const filter = byId("filter");
let order = null;

function rowsOf(table) {
  return [...table.tBodies[0].rows];
}

function cellText(row, column) {
  const cell = row.cells[column];
  return cell.querySelector("data")?.value ?? cell.textContent.trim();
}

function compare(one, other) {
  const [a, b] = [one, other].map((text) => text.replaceAll(",", ""));
  const numbers = [a, b].map((text) => (/^-?\d+(\.\d+)?\b(?!-)/.test(text) ? parseFloat(text) : NaN));
  if (numbers.every((number) => !Number.isNaN(number)) && numbers[0] !== numbers[1]) {
    return numbers[0] - numbers[1];
  }
  return a.localeCompare(b, "en", { numeric: true });
}

function sort(table) {
  if (!order) return;
  const rows = rowsOf(table).map((row) => ({ row, text: cellText(row, order.column) }));
  rows.sort((a, b) => order.sign * compare(a.text, b.text));
  table.tBodies[0].append(...rows.map(({ row }) => row));
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (column !== order.column) head.removeAttribute("aria-sort");
    else head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
  });
}

function sift(table) {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = rowsOf(table);
  let fitting = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = words.every((word) => text.includes(word));
    if (row.hidden === fits) row.hidden = !fits;
    fitting += fits;
  }
  const told = words.length ? `${fitting} of ${rows.length} listed payouts fit` : "";
  if (byId("fitting").textContent !== told) byId("fitting").textContent = told;
}

function enhance() {
  const table = byId("listing");
  byId("tools").hidden = !table;
  if (!table) return;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.firstElementChild) return;
    const button = document.createElement("button");
    button.type = "button";
    button.id = `sort-${column}`;
    button.textContent = head.textContent;
    button.addEventListener("click", () => {
      const sign = order?.column === column ? -order.sign : 1;
      order = { column, sign };
      sort(table);
    });
    head.replaceChildren(button);
  });
  sort(table);
  sift(table);
}

filter.addEventListener("input", () => {
  const fold = byId("listing-fold");
  if (filter.value && fold) fold.open = true;
  sift(byId("listing"));
});
enhance();
