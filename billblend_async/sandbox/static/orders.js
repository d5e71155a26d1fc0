"use strict";
// Keeps the list of orders up to date: rows are made once and changed only where they differ, so
// nothing flickers, a selection stays, and an opened history stays open.
const byId = (id) => document.getElementById(id);
const rows = byId("rows"), filter = byId("filter"), live = byId("live");
const MOST = 500, EACH = 1000;
const known = new Map();
let timer = 0, asking = null, lastText = null, announce = false;

const clock = new Intl.DateTimeFormat("en", {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false,
});
const time = (at) => clock.format(new Date(at * 1000));
const many = (count, one, more = one + "s") =>
  `${count.toLocaleString("en")} ${count === 1 ? one : more}`;

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// The gateway's long words are broken where a person would, if they must be.
function putWords(node, text) {
  if (node.textContent === text) return;
  const pieces = text.split(/(?<=_)/);
  node.replaceChildren(...pieces.flatMap((piece, at) =>
    at ? [document.createElement("wbr"), piece] : [piece]));
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
  put(when, time(order.made_at));
  const box = part(status, "div");
  return {
    row, sum, status: part(box, "span", "status"), stage: part(box, "div", "small soft"),
    history: folded(history), callbacks: part(callbacks, "ul", "small number"), text: null,
  };
}

function fill(list, lines) {
  lines.forEach((line, at) => put(list.children[at] ?? part(list, "li"), line));
  while (list.children.length > lines.length) list.lastChild.remove();
}

function change(shown, order, text) {
  if (shown.text === text) return;
  shown.text = text;
  put(shown.sum, `${order.amount} ${order.currency}`);
  put(shown.status, order.status);
  shown.status.className = `status ${order.status}`;
  const why = order.error_message ? `: ${order.error_message}` : "";
  putWords(shown.stage, order.order_stage + why);
  const steps = order.history.map((step) => `${time(step.at)} ${step.what}`);
  put(shown.history.summary, many(steps.length, "step"));
  fill(shown.history.list, steps);
  fill(shown.callbacks, order.deliveries.map(describeDelivery));
}

function describeDelivery({ type, tries, answer, is_delivered, is_over }) {
  if (!tries) return `${type}: ${answer ?? "on its way"}`;
  const times = many(tries, "try", "tries");
  if (is_delivered) return `${type}: delivered, ${times}`;
  const end = is_over ? "given up" : "not delivered yet";
  return `${type}: ${end}, ${times}, last answer ${answer ?? "awaited"}`;
}

function show(answer) {
  const wanted = new Set(answer.orders.map((order) => order.paynet_order_id));
  // First, so that no row that stays has to move, which would take the focus from it.
  for (const [id, shown] of known) {
    if (wanted.has(id)) continue;
    shown.row.remove();
    known.delete(id);
  }
  let place = rows.firstChild;
  for (const order of answer.orders) {
    const id = order.paynet_order_id;
    if (!known.has(id)) known.set(id, makeRow(order));
    const shown = known.get(id);
    change(shown, order, JSON.stringify(order));
    if (shown.row === place) place = place.nextSibling;
    else rows.insertBefore(shown.row, place);
  }
  const text = describe(answer);
  put(byId("count"), text);
  // A counter that climbs each second is no news; what somebody has filtered for is.
  if (announce) put(byId("said"), text);
  announce = false;
}

function describe({ total, matching, orders }) {
  if (!total) return "No orders yet. The list fills by itself when a payout arrives.";
  const all = many(total, "order");
  const fit = matching === total ? all : `${matching.toLocaleString("en")} of ${all} fit`;
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

const words = (name) => name.replaceAll("_", " ");
let kinds = {};

function describeFault({ command, fault, share, count, seconds }) {
  const often = share < 1 ? `${+(share * 100).toFixed(4)} % of requests` : "each request";
  const left = count === null ? "" : `, ${many(count, "more time")} at most`;
  const wait = seconds === null ? "" : ` of ${seconds} s`;
  return `${command}: ${words(fault)}${wait}, ${often}${left}`;
}

function showFaults({ commands, faults }) {
  if (!byId("command").options.length) {
    kinds = commands;
    offer(byId("command"), Object.keys(kinds));
    offerKinds();
  }
  put(byId("fault-count"), faults.length ? `${faults.length} set` : "none set");
  const list = byId("faults");
  faults.forEach((fault, at) => {
    const item = list.children[at] ?? makeFault(list);
    item.fault = fault;
    put(item.firstChild, describeFault(fault));
    item.lastChild.setAttribute("aria-label", `Clear ${fault.command}: ${words(fault.fault)}`);
  });
  while (list.children.length > faults.length) list.lastChild.remove();
}

function offer(select, names) {
  select.replaceChildren(...names.map((name) => new Option(words(name), name)));
}

function offerKinds() {
  offer(byId("fault"), kinds[byId("command").value]);
  offerSeconds();
}

function offerSeconds() {
  byId("seconds").disabled = byId("fault").value !== "delay";
}

function makeFault(list) {
  const item = part(list, "li");
  part(item, "span");
  const clear = part(item, "button");
  clear.type = "button";
  put(clear, "Clear");
  clear.addEventListener("click", () => {
    // The button goes away with its fault, so the focus must not go with it.
    byId("fault-panel").querySelector("summary").focus();
    const { command, fault } = item.fault;
    setFault({ command, fault, share: 0 }, "The fault is cleared.");
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
  const number = (id) => (byId(id).disabled || byId(id).value === "" ? null : +byId(id).value);
  setFault({
    command: byId("command").value, fault: byId("fault").value, share: number("share") / 100,
    count: number("limit"), seconds: number("seconds"),
  }, "The fault is set.");
});
byId("command").addEventListener("change", offerKinds);
byId("fault").addEventListener("change", offerSeconds);
let typing = 0;
filter.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => { announce = true; refresh(); }, 150);
});
live.addEventListener("change", () => (live.checked ? refresh() : plan()));
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && live.checked) refresh();
  else plan();
});
refresh();
