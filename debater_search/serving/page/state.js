// What is shown, kept in the URL's fragment: a link shares it, and no server sees it.
const DEFAULTS = { index: "", q: "", like: "", mode: "hybrid", where: "", explain: "", rerank: "", shown: "", doc: "" };
const MODES = ["hybrid", "dense", "lexical"];

/** The state that a fragment says; what it leaves out or has wrong is as at the start. */
export function read(fragment = location.hash) {
  const given = new URLSearchParams(fragment.slice(1));
  const state = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, given.get(name) ?? value]));
  if (!MODES.includes(state.mode)) state.mode = DEFAULTS.mode;
  state.shown = /^[1-9]\d{0,3}$/.test(state.shown) ? state.shown : "";
  return state;
}

/** The fragment of a state. */
export function fragment(state) {
  const changed = Object.keys(DEFAULTS).filter((name) => state[name] !== DEFAULTS[name]);
  return `#${new URLSearchParams(changed.map((name) => [name, state[name]]))}`;
}

/** Put a state into the URL; `step` is a step that the browser's Back button undoes. */
export function write(state, { step = false } = {}) {
  const url = fragment(state);
  if (url === (location.hash || "#")) return;
  history[step ? "pushState" : "replaceState"](null, "", url);
}
