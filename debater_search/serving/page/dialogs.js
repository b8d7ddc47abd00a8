// Dialogs: a document, read piece by piece; the question for the key; the link to share.
import { ask, hasKey, indexPath, setKey } from "./api.js";
import { byId, el, fill } from "./dom.js";
import { metadataList } from "./hits.js";

const PIECE = 8000; // characters

/** Show a document; `on`: {isCurrent(), like(document), closed()}, `guarded` runs a request and reports its errors. */
export async function openDocument(index, id, guarded, on) {
  const dialog = byId("document");
  const read = (offset) => guarded(() => ask(`${indexPath(index, "documents", id)}?offset=${offset}&characters=${PIECE}`));
  const found = await read(0);
  if (!on.isCurrent()) return undefined; // another one was opened meanwhile
  if (found === undefined) return on.closed();
  const text = el("div", { class: "text" }, withoutHeading(found.text, found.title));
  const more = el("button", { type: "button" }, "Show more of the text");
  let length = Array.from(found.text).length; // offsets count characters
  const offer = (piece) => (more.hidden = !(Array.from(piece.text).length && length < piece.total_characters));
  more.addEventListener("click", async () => {
    const piece = await read(length);
    if (piece === undefined) return;
    text.append(piece.text);
    length += Array.from(piece.text).length;
    offer(piece);
  });
  offer(found);
  const close = el("button", { type: "button", class: "quiet close", "aria-label": "Close" }, "×");
  const like = el("button", { type: "button" }, "Like this");
  fill(
    dialog,
    el("div", { class: "document-head" }, el("h2", { id: "document-title" }, found.title || found.id), close),
    el("p", { class: "muted small" }, found.id),
    metadataList(found.metadata, { all: true }),
    text,
    el("p", { class: "actions" }, more, like),
  );
  close.addEventListener("click", () => dialog.close());
  like.addEventListener("click", () => {
    dialog.close();
    on.like(found);
  });
  dialog.onclose = on.closed;
  dialog.onclick = (event) => event.target === dialog && dialog.close(); // beside it
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

/** A text of Markdown without a first heading that repeats the title above it. */
function withoutHeading(text, title) {
  const [heading] = text.trimStart().split("\n", 1);
  const repeats = title && heading.startsWith("#") && heading.replace(/^[#\s]+|[#\s]+$/g, "") === title.trim();
  return repeats ? text.trimStart().slice(heading.length).trimStart() : text;
}

/** Ask for a key, once for all that wait for it; whether one was given. */
export function askForKey() {
  const dialog = byId("key");
  asking ??= new Promise((resolve) => {
    const error = byId("key-error");
    let given = false;
    error.hidden = !hasKey();
    error.textContent = hasKey() ? "The server does not accept this key. It may have been revoked or have expired." : "";
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      setKey(byId("key-value").value.trim());
      given = true;
      byId("key-value").value = "";
      dialog.close();
    };
    dialog.onclose = () => {
      asking = null;
      resolve(given);
    };
    dialog.showModal();
  });
  return asking;
}
let asking = null;

/** Copy the page's address. */
export async function share(button) {
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy link"), 2000);
  } catch {
    prompt("Copy this link", location.href); // there is no clipboard without HTTPS
  }
}
