// The keys: / to the query, arrows through the results, Escape clears. Enter opens a result, as any link.
import { byId } from "./dom.js";

export function listenToKeys(clear) {
  document.addEventListener("keydown", (event) => pressed(event, clear));
}

function walk(by) {
  const titles = [...byId("hits").querySelectorAll(".title")];
  const at = titles.findIndex((title) => title.closest(".hit").contains(document.activeElement)) + by;
  const next = at < 0 ? byId("query") : titles[Math.min(at, titles.length - 1)];
  next?.focus();
  next?.closest(".hit")?.scrollIntoView({ block: "nearest" });
}

function pressed(event, clear) {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target } = event;
  const isQuery = target === byId("query");
  const takesKeys = !isQuery && target.matches("input, textarea, select");
  if (takesKeys && !(event.key === "Escape" && target.type !== "text" && target.type !== "textarea")) return;
  if (event.key === "/" && !isQuery) {
    event.preventDefault();
    byId("query").select();
  } else if (event.key === "Escape") {
    event.preventDefault();
    clear();
    byId("query").focus();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    walk(event.key === "ArrowDown" ? 1 : -1);
  }
}
