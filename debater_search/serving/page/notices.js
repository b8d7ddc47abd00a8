// What the page says where there are no hits to show.
import { byId, count, el, listed } from "./dom.js";

const SLOW = 250; // milliseconds until a wait is shown
let slow = 0;

export function setBusy(busy) {
  clearTimeout(slow);
  byId("hits").setAttribute("aria-busy", String(busy));
  if (busy) slow = setTimeout(() => (byId("progress").hidden = false), SLOW);
  else byId("progress").hidden = true;
}

/** Show what is wrong with the filter below it; nothing where the text is empty. */
export function sayFilterError(text) {
  byId("where-error").textContent = text;
  byId("where-error").hidden = !text;
  byId("where").setAttribute("aria-invalid", String(Boolean(text)));
}

/** A box with a sentence, what to do, and perhaps a button. */
export function notice(kind, message, hint, button = null) {
  return el("div", { class: `notice ${kind}` }, el("p", {}, el("b", {}, message), hint ? ` ${hint}` : ""), button);
}

/** The notes of an answer; `linked` makes a link to the document whose id the query is. */
export function notesOf(answer, linked) {
  const cut = answer.truncated ? ["The query is longer than the model reads: its end was left out."] : [];
  const isId = (note) => note.startsWith("The query is the id of a document");
  return [...(answer.notes ?? []), ...cut].map((note) => notice("wait", note, "", isId(note) ? linked() : null));
}

export function nothing(isFiltered, byWords) {
  if (isFiltered) return notice("wait", "No document matches.", "Try fewer filters, or clear them.");
  return notice("wait", "No document matches.", byWords ? "Try other words, or search by meaning." : "Try other words.");
}

/** How many there are of an answer, and how long it took; of listed documents all are known. */
export function summary(answer, shown, isMore) {
  if (answer.documents) return `${count(answer.total, "document")}${isMore ? `, the first ${shown} shown` : ""}`;
  const ms = Object.values(answer.ms ?? {}).reduce((sum, value) => sum + value, 0);
  return listed(count(shown, "result") + (isMore ? ", more below" : ""), `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
}

/** What an index is, before anything was asked. */
export function welcome(facts) {
  const about = [
    count(facts.documents, "document"),
    facts.model ? `model ${facts.model}` : "search by words only",
    facts.thinking_steps > 1 ? count(facts.thinking_steps, "thinking step") : "",
  ];
  const how = "Type a question in your own words. Results appear as you type. A filter alone lists the documents that it allows. The address of this page keeps your search, so that you can share it.";
  const by = facts.model ? "This page searches by meaning and by words unless you choose one of them; the command debater search goes by meaning alone." : "";
  return [el("h1", {}, `Search ${facts.name}`), el("p", { class: "muted" }, listed(...about)), el("p", {}, how), by ? el("p", { class: "muted small" }, by) : null];
}
