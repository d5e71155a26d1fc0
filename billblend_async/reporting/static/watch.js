
// Keeps the page up to date: a part is put in anew only where it differs, what was unfolded stays so
// and the focus stays where it is.
const EACH = 2000, LONGEST = 20000;
const parts = new Map();
let timer = 0;
for (const part of document.querySelectorAll("[data-part]")) {
  // The list's head was given buttons already, so it is put in anew once.
  if (part.id !== "payouts-part") parts.set(part.id, part.innerHTML);
}

function isBeingMarked(part) {
  const marked = getSelection();
  return !marked.isCollapsed && marked.rangeCount && marked.getRangeAt(0).intersectsNode(part);
}

function put(part, made) {
  if (parts.get(part.id) === made.innerHTML || isBeingMarked(part)) return;
  parts.set(part.id, made.innerHTML);
  const folds = new Map([...part.querySelectorAll("details")].map((fold) => [fold.id, fold.open]));
  const focus = part.contains(document.activeElement) ? document.activeElement.id : "";
  part.replaceChildren(...made.childNodes);
  for (const fold of part.querySelectorAll("details")) {
    if (folds.has(fold.id)) fold.open = folds.get(fold.id);
  }
  if (part.id === "payouts-part") enhance();
  if (focus) byId(focus)?.focus({ preventScroll: true });
}

async function refresh() {
  clearTimeout(timer);
  let wrong = "";
  try {
    const answer = await fetch("main", { cache: "no-store", signal: AbortSignal.timeout(LONGEST) });
    const text = await answer.text();
    if (answer.ok) {
      const made = document.createElement("template");
      made.innerHTML = text;
      for (const each of made.content.querySelectorAll("[data-part]")) {
        const part = byId(each.id);
        if (part) put(part, each);
      }
    } else {
      wrong = text;
    }
  } catch {
    wrong = "billblend watch does not answer; it may have been ended. This page asks again.";
  }
  if (byId("trouble").textContent !== wrong) byId("trouble").textContent = wrong;
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EACH);
}

document.addEventListener("visibilitychange", () => (document.hidden ? plan() : refresh()));
plan();
