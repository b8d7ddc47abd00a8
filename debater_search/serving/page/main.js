// The page: its state, what is asked as the user types, and the keys.
import { ApiError, ask, indexPath, isAboutFilter } from "./api.js";
import { askForKey, openDocument, share } from "./dialogs.js";
import { byId, count, el, fill, options, switchColours } from "./dom.js";
import { exampleOf, makeControls } from "./filters.js";
import { hitItem, shortened } from "./hits.js";
import { listenToKeys } from "./keys.js";
import { notesOf, notice, nothing, sayFilterError, setBusy, summary, welcome } from "./notices.js";
import { asks, countingRequests, countsOf, hasVectors, hitsRequest, modeOf } from "./searches.js";
import { fragment, read, write } from "./state.js";
import { compose, parse } from "./where.js";

const PAGE = 10; // hits
const TYPING = 150, WRITING = 500; // milliseconds: of a query, of a filter
const SEARCHED = ["index", "q", "like", "mode", "where", "explain", "rerank"]; // other parts of the state do not change the hits

const state = read();
const SWITCHES = ["explain", "rerank"];
let facts = null; // of the chosen index
let controls = null; // for its fields
let running = new AbortController();
let timer = 0;
let searched = ""; // what the hits answer

/** The result of a request; undefined where it was aborted, or failed and the page says so. */
async function guarded(work, signal = null) {
  for (;;) {
    try {
      const result = await work();
      if (!signal?.aborted) fill(byId("message"));
      return result;
    } catch (error) {
      if (error.name === "AbortError" || signal?.aborted) return undefined;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) {
        if (await askForKey()) continue;
        return tell(error, () => location.reload());
      }
      if (error.status === 400 && (await isAnother())) return undefined;
      if (!error.wait) return tell(error, start);
      fill(byId("message"), notice("wait", error.message, `Trying again in ${count(error.wait, "second")}.`));
      await new Promise((resolve) => setTimeout(resolve, 1000 * error.wait));
      if (signal?.aborted) return undefined;
    }
  }
}

function tell(error, again) {
  const retries = error.status === 0 || error.status === 401 || error.status >= 500;
  const button = retries ? el("button", { type: "button", onclick: again }, "Try again") : null;
  if (state.where && isAboutFilter(error)) {
    byId("filters").open = true;
    sayFilterError(`${error.message} ${error.hint}`);
    byId("count").textContent = "No results: the filter is wrong.";
  } else {
    fill(byId("message"), notice("bad", error.message, error.hint, button));
    byId("count").textContent = "";
  }
  return undefined;
}

async function start() {
  const found = await guarded(() => ask("v1/indexes"));
  if (found === undefined) return;
  const names = found.indexes.map((one) => one.name);
  if (!names.length) {
    if ((await guarded(() => ask("readyz"))) === undefined) return; // none is open yet
    if ((await ask("v1/indexes")).indexes.length) return void start();
    fill(byId("message"), notice("bad", "There is no index to search.", "Ask the server's administrator for a key that may see one."));
    return;
  }
  options(byId("index"), names.map((name) => [name, name]));
  byId("chooser").hidden = names.length < 2;
  if (names.length === 1) byId("name").textContent = names[0];
  const asked = state.index;
  const name = names.includes(asked) ? asked : names[0];
  state.index = names.length > 1 || asked === name ? name : "";
  write(state); // another index may be the first one when a link is opened
  await openIndex(name);
  if (asked && asked !== name) fill(byId("gone"), notice("wait", `There is no index ${asked}.`, `This is ${name}.`));
}

/** Show an index, and what the state asks of it. */
async function openIndex(name) {
  byId("index").value = name;
  facts = null;
  const found = await guarded(() => ask(indexPath(name)));
  if (found !== undefined) show({ ...found, name });
}

/** Show what the page offers for an index of these facts, and what the state asks of it. */
function show(found) {
  facts = found;
  controls = makeControls(byId("controls"), facts.fields ?? [], (field, condition) => {
    const filter = parse(state.where);
    if (condition === null) filter.conditions.delete(field);
    else filter.conditions.set(field, condition);
    change({ where: compose(filter) }, { delay: TYPING });
  });
  byId("where").placeholder = exampleOf(facts.fields);
  byId("modes").hidden = !hasVectors(facts);
  byId("rerank").parentElement.hidden = !facts.reranks;
  apply({ anew: true });
}

/** Whether the index was built anew, and has other fields or no vectors; the page then shows and asks the new one. */
async function isAnother() {
  const known = facts;
  if (known === null) return false;
  const found = await ask(indexPath(known.name)).catch(() => null);
  if (found === null || facts !== known) return false;
  const now = { ...found, name: known.name };
  if (JSON.stringify(now) === JSON.stringify(known)) return false;
  show(now);
  return true;
}

/** Change the state as the user did, and search. */
function change(changes, { delay = 0, step = false } = {}) {
  Object.assign(state, { shown: "" }, changes);
  fill(byId("gone"));
  write(state, { step });
  apply({ delay });
}

/** Make the page show the state. */
function apply({ delay = 0, anew = false } = {}) {
  if (facts === null) return;
  const set = (id, value) => byId(id).value !== value && (byId(id).value = value);
  set("query", state.q);
  set("where", state.where);
  for (const name of SWITCHES) byId(name).checked = Boolean(state[name]);
  byId("modes").querySelector(`[value=${state.mode}]`).checked = true;
  byId("like").hidden = !state.like;
  byId("like").querySelector("span").textContent = `Documents like ${shortened(state.like, 60)}`;
  document.title = state.q ? `${shortened(state.q, 60)} – debater` : "debater";
  const filter = parse(state.where);
  const active = filter.conditions.size + filter.rest.length;
  byId("active").textContent = active ? `(${active})` : "";
  byId("clear").hidden = !active;
  controls.show(filter.conditions);
  const wanted = JSON.stringify([facts.name, ...SEARCHED.map((name) => state[name])]);
  if (anew || wanted !== searched) {
    searched = wanted;
    search(delay);
  }
  if (state.doc) showDocument();
  else if (byId("document").open) byId("document").close();
}

function search(delay) {
  clearTimeout(timer);
  running.abort(); // its answer is not the last one
  sayFilterError("");
  if (!asks(state) && !state.where.trim()) {
    setBusy(false);
    fill(byId("hits"));
    fill(byId("notes"));
    fill(byId("message"));
    byId("more").hidden = true;
    byId("count").textContent = "";
    controls.showCounts(null);
    fill(byId("welcome"), welcome(facts));
    byId("welcome").hidden = false;
    return;
  }
  byId("welcome").hidden = true;
  const own = (running = new AbortController());
  timer = setTimeout(async () => {
    setBusy(true);
    const k = Math.min(facts.max_k, Number(state.shown) || PAGE);
    const answer = await asked(hitsRequest(state, facts, { offset: 0, k, fields: controls.counted }), own.signal);
    if (own.signal.aborted) return;
    setBusy(false);
    if (answer !== undefined) {
      draw(answer);
      return showCounts(answer, own.signal);
    }
    fill(byId("hits"));
    controls.showCounts(null);
    byId("more").hidden = true;
  }, delay);
}

const asked = ([path, body], signal) => guarded(() => ask(`${indexPath(facts.name)}/${path}`, { body, signal }), signal);

/** Show how many documents have which value, among those that answer the question. */
async function showCounts(answer, signal) {
  if (!asks(state)) return controls.showCounts(null); // those of the whole index
  const others = await Promise.all(countingRequests(state, facts, controls.counted).map((request) => asked(request, signal)));
  if (!signal.aborted) controls.showCounts(countsOf([answer, ...others]));
}

/** Show an answer; hits that are there already stay where `added`. */
function draw(answer, added = false) {
  const list = byId("hits");
  const focused = document.activeElement.closest?.(".hit")?.dataset.id;
  const found = answer.hits ?? answer.documents;
  const items = found.map((hit) => hitItem(hit, actions));
  if (added) list.append(...items);
  else fill(list, items);
  if (focused !== undefined && !added) (itemOf(focused) ?? list).querySelector(".title")?.focus();
  const all = list.childElementCount;
  byId("more").hidden = found.length < PAGE || all >= facts.max_k || all === answer.total;
  byId("count").textContent = all ? summary(answer, all, !byId("more").hidden) : "No results.";
  const none = all ? null : nothing(Boolean(state.where), modeOf(state, facts) === "lexical");
  fill(byId("notes"), none, notesOf(answer, () => el("a", { href: actions.link(state.q.trim()) }, "Open the document")));
}

const itemOf = (id) => [...byId("hits").children].find((item) => item.dataset.id === id);

const actions = {
  link: (id) => fragment({ ...state, doc: id }),
  like: ({ id }) => {
    change({ like: id, q: "", doc: "" }, { step: true });
    byId("query").focus();
    scrollTo(0, 0);
  },
  get judge() {
    return facts.judgements && state.q.trim() && !state.like ? judge : null;
  },
};

/** Save a judgement; whether it was saved. */
async function judge(hit, relevant) {
  const body = { query: state.q, id: hit.id, relevant };
  return (await guarded(() => ask(indexPath(facts.name, "judgements"), { body }))) !== undefined;
}

async function more() {
  const list = byId("hits");
  const before = list.childElementCount;
  setBusy(true);
  byId("more").disabled = true; // a second click would ask for the same hits
  let answer;
  try {
    const range = { offset: before, k: Math.min(PAGE, facts.max_k - before) };
    answer = await asked(hitsRequest(state, facts, range), running.signal);
  } finally {
    byId("more").disabled = false;
    setBusy(false);
  }
  if (answer === undefined) return;
  draw(answer, true);
  state.shown = String(list.childElementCount);
  write(state);
  list.children[before]?.querySelector(".title").focus();
}

function showDocument() {
  const id = state.doc;
  openDocument(facts.name, id, guarded, {
    isCurrent: () => state.doc === id,
    like: actions.like,
    closed: () => {
      if (!state.doc) return;
      state.doc = "";
      write(state);
    },
  });
}

function listen() {
  switchColours(byId("theme"));
  byId("filters").open = matchMedia("(min-width: 56rem)").matches;
  byId("query").addEventListener("input", () => change({ q: byId("query").value, like: "" }, { delay: TYPING }));
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    change({ q: byId("query").value }, { step: true });
  });
  byId("modes").addEventListener("change", (event) => change({ mode: event.target.value }));
  for (const name of SWITCHES) {
    byId(name).addEventListener("change", () => change({ [name]: byId(name).checked ? "1" : "" }));
  }
  byId("where").addEventListener("input", () => change({ where: byId("where").value }, { delay: WRITING }));
  byId("clear").addEventListener("click", () => (change({ where: "" }), byId("where").focus()));
  byId("like").querySelector("button").addEventListener("click", () => (change({ like: "" }), byId("query").focus()));
  byId("index").addEventListener("change", () => {
    fill(byId("gone"));
    Object.assign(state, { index: byId("index").value, where: "", like: "", doc: "", shown: "" });
    write(state, { step: true });
    openIndex(state.index);
  });
  byId("more").addEventListener("click", more);
  byId("share").addEventListener("click", () => share(byId("share")));
  byId("skip").addEventListener("click", (event) => (event.preventDefault(), byId("hits").focus()));
  listenToKeys(() => (state.q || state.like ? change({ q: "", like: "" }, { step: true }) : undefined));
  addEventListener("hashchange", () => {
    const index = state.index;
    Object.assign(state, read());
    if (state.index === index) apply();
    else start();
  });
}

listen();
if (!matchMedia("(pointer: coarse)").matches) byId("query").focus();
start();
