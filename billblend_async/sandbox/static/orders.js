"use strict";
// Keeps the list of orders up to date: rows are made once and changed only where they differ, so
// nothing flickers, a selection stays, and an opened history stays open.
const byId = (id) => document.getElementById(id);
const rows = byId("rows"), filter = byId("filter"), live = byId("live");
const MOST = 500, EACH = 1000;
const known = new Map();
let timer = 0, asking = null, lastText = null, announce = false;

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});
const time = (at) => clock.format(new Date(at * 1000));
const many = (count, one, more = one + "s") =>
  `${count.toLocaleString()} ${count === 1 ? one : more}`;

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function cell(kind, name, className = "") {
  const made = document.createElement(kind === "th" ? "th" : "td");
  made.setAttribute("role", kind === "th" ? "rowheader" : "cell");
  if (kind === "th") made.scope = "row";
  if (name) made.dataset.name = name;
  made.className = className;
  return made;
}

function part(parent, kind, className = "") {
  const made = document.createElement(kind);
  made.className = className;
  parent.append(made);
  return made;
}

function folded(parent) {
  const details = part(parent, "details");
  const summary = part(details, "summary");
  return { details, summary, list: part(details, "ol", "number") };
}

function makeRow(order) {
  const row = document.createElement("tr");
  row.setAttribute("role", "row");
  const name = cell("th", ""), sum = cell("td", "Amount", "sum number");
  const status = cell("td", "Status"), when = cell("td", "Made", "when number");
  const history = cell("td", "History"), callbacks = cell("td", "Callbacks");
  row.append(name, sum, status, when, history, callbacks);
  put(part(name, "span"), order.client_orderid);
  put(part(name, "span", "small soft number"), order.paynet_order_id);
  put(sum, `${order.amount} ${order.currency}`);
  put(when, time(order.made_at));
  const box = part(status, "div");
  return {
    row, callbacks, status: part(box, "span", "status"), stage: part(box, "div", "small soft"),
    history: folded(history), deliveries: null, order: null,
  };
}

function fill(fold, title, lines) {
  put(fold.summary, title);
  lines.forEach((line, at) => put(fold.list.children[at] ?? part(fold.list, "li"), line));
  while (fold.list.children.length > lines.length) fold.list.lastChild.remove();
}

function change(shown, order, text) {
  if (shown.text === text) return;
  shown.text = text;
  put(shown.status, order.status);
  shown.status.className = `status ${order.status}`;
  put(shown.stage, [order.order_stage, order.error_message].filter(Boolean).join(": "));
  const steps = order.history.map((step) => `${time(step.at)} ${step.event}`);
  fill(shown.history, many(steps.length, "step"), steps);
  if (!order.deliveries.length) return;
  shown.deliveries ??= folded(shown.callbacks);
  const last = order.deliveries.at(-1);
  const said = (each) => (each.status === null ? "no answer" : `answered ${each.status}`);
  const title = last.status === 200 ? "delivered" : "not delivered";
  fill(
    shown.deliveries,
    `${title}, ${many(order.deliveries.length, "try", "tries")}`,
    order.deliveries.map((each) => `${time(each.at)} ${said(each)}`),
  );
}

function show(answer) {
  const wanted = new Set();
  let place = rows.firstChild;
  for (const order of answer.orders) {
    const id = order.paynet_order_id;
    wanted.add(id);
    if (!known.has(id)) known.set(id, makeRow(order));
    const shown = known.get(id);
    change(shown, order, JSON.stringify(order));
    if (shown.row === place) place = place.nextSibling;
    else rows.insertBefore(shown.row, place);
  }
  for (const [id, shown] of known) {
    if (wanted.has(id)) continue;
    shown.row.remove();
    known.delete(id);
  }
  const text = describe(answer);
  put(byId("count"), text);
  // A counter that climbs each second is no news; what somebody has filtered for is.
  if (announce) put(byId("said"), text);
  announce = false;
}

function describe({ total, matching, orders }) {
  if (!total) return "No orders yet. The list fills by itself when a payout arrives.";
  const fit = matching === total ? many(total, "order") : `${matching.toLocaleString()} of ${many(total, "order")} fit`;
  return orders.length < matching ? `${fit}; the newest ${orders.length} are shown` : fit;
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  try {
    const query = new URLSearchParams({ text: filter.value.trim(), limit: MOST });
    const [orders, faults] = await Promise.all([
      read(`/sandbox/orders?${query}`, mine.signal), read("/sandbox/faults", mine.signal),
    ]);
    if (orders + faults !== lastText || announce) {
      lastText = orders + faults;
      show(JSON.parse(orders));
      showFaults(JSON.parse(faults));
    }
    put(byId("trouble"), "");
  } catch (error) {
    if (mine.signal.aborted) return;
    put(byId("trouble"), "The sandbox does not answer. This page asks again each second.");
  }
  plan();
}

async function read(url, signal) {
  const answer = await fetch(url, { signal, cache: "no-store" });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.text();
}

function plan() {
  clearTimeout(timer);
  if (live.checked && !document.hidden) timer = setTimeout(refresh, EACH);
}

function describeFault(fault) {
  const share = fault.share < 1 ? `${+(fault.share * 100).toFixed(2)} % of requests` : "each request";
  const left = fault.count === null ? "" : `, ${fault.count} more at most`;
  const wait = fault.seconds === null ? "" : `, ${fault.seconds} s`;
  return `${fault.command}: ${words(fault.fault)}${wait}, ${share}${left}`;
}

const words = (name) => name.replaceAll("-", " ");

function showFaults({ commands, kinds, faults }) {
  offer(byId("command"), commands);
  offer(byId("fault"), kinds);
  const list = byId("faults");
  put(byId("fault-count"), faults.length ? `${faults.length} set` : "none set");
  faults.forEach((fault, at) => {
    const item = list.children[at] ?? makeFault(list);
    item.command = fault.command;
    put(item.firstChild, describeFault(fault));
    item.lastChild.setAttribute("aria-label", `Clear the fault of ${fault.command}`);
  });
  while (list.children.length > faults.length) list.lastChild.remove();
}

function offer(select, names) {
  if (select.options.length) return;
  for (const name of names) select.add(new Option(words(name), name));
}

function makeFault(list) {
  const item = part(list, "li");
  part(item, "span");
  const clear = part(item, "button");
  clear.type = "button";
  put(clear, "Clear");
  clear.addEventListener("click", () => {
    byId("fault-panel").querySelector("summary").focus();
    setFault({ command: item.command, fault: null }, "The fault is cleared.");
  });
  return item;
}

async function setFault(fault, said) {
  try {
    const answer = await fetch("/sandbox/faults", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fault),
    });
    put(byId("answer"), answer.ok ? said : await answer.text());
  } catch (error) {
    put(byId("answer"), "The sandbox does not answer; nothing was changed.");
  }
  refresh();
}

byId("fault-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = (id) => (byId(id).value === "" ? null : byId(id).valueAsNumber);
  setFault({
    command: byId("command").value, fault: byId("fault").value, share: number("share") / 100,
    count: number("limit"), seconds: number("seconds"),
  }, "The fault is set.");
});
let typing = 0;
filter.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { announce = true; refresh(); }, 150);
});
live.addEventListener("change", () => (live.checked ? refresh() : plan()));
document.addEventListener("visibilitychange", () => (document.hidden ? plan() : live.checked && refresh()));
refresh();
