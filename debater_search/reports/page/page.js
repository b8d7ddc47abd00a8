"use strict";
// Draws the page from the data in it. All that comes from there goes through `el`, as text and never as markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const DATA = JSON.parse(byId("data").textContent);
  const TASKS = new Map(DATA.tasks.map((task) => [task.name, task]));
  const SURE = 0.05;
  const WHOLE = 10000; // values of single queries are whole numbers
  const STEP = 50; // queries shown at once
  const state = { metric: DATA.main, sort: null, down: true, shown: STEP };

  function el(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key.startsWith("--")) node.style.setProperty(key, value);
      else if (value !== null && value !== false) node.setAttribute(key, value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const fill = (node, ...children) => node.replaceChildren(...children.flat().filter((child) => child !== null));
  const isNumber = (value) => typeof value === "number";
  const score = (value, digits = 4) => (isNumber(value) ? value.toFixed(digits) : "–");
  const signed = (value, digits = 4) => {
    if (!isNumber(value)) return "–";
    return (value > 0 ? "+" : value < 0 ? "−" : "±") + Math.abs(value).toFixed(digits);
  };
  const range = ([low, high] = [], digits = 3, write = score) => (isNumber(low) ? `${write(low, digits)} … ${write(high, digits)}` : "");
  const chance = (p) => (!isNumber(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
  const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
  const metricName = (name) => {
    const [stem, ...rest] = name.split("@");
    const known = { ndcg: "nDCG", mrr: "MRR", map: "MAP" };
    return [known[stem] ?? stem.charAt(0).toUpperCase() + stem.slice(1), ...rest].join("@");
  };
  const bytes = (n) => {
    const power = Math.min(4, n > 0 ? Math.floor(Math.log10(n) / 3) : 0);
    return `${(n / 1000 ** power).toFixed(power ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
  };
  const seconds = (s) => (s < 1 ? `${(s * 1000).toFixed(0)} ms` : s < 120 ? `${s.toFixed(1)} s` : `${(s / 60).toFixed(1)} min`);
  const options = (select, pairs) => fill(select, pairs.map(([value, text]) => el("option", { value }, text)));
  const hidden = (text) => el("span", { class: "hidden" }, text);

  /** Dot and interval on the axis from `from` to `to`; words beside it say the same. */
  function strip(value, interval, from, to, zero) {
    const at = (x) => `${(100 * (x - from)) / (to - from || 1)}%`;
    const parts = [el("i", { class: "dot", "--at": at(value) })];
    if (isNumber(interval?.[0])) parts.unshift(el("i", { class: "ci", "--at": at(interval[0]), "--to": at(interval[1]) }));
    if (zero) parts.unshift(el("i", { class: "zero", "--at": at(0) }));
    return el("span", { class: "strip", "aria-hidden": "true" }, parts);
  }

  // Comparisons: what was measured, and how sure it is.
  const tested = (found) => found?.p_randomisation_holm ?? found?.p_randomisation;
  function verdict(found) {
    const p = tested(found);
    if (!isNumber(p)) return { word: "not tested", kind: "open" };
    if (p >= SURE) return { word: "no clear difference", kind: "open" };
    return found.difference > 0 ? { word: "better", kind: "up" } : { word: "worse", kind: "down" };
  }
  const chip = ({ word, kind }) => el("span", { class: `chip ${kind}` }, { up: "▲ ", down: "▼ ", open: "" }[kind], word);
  const inMetric = (metric) => DATA.comparisons.filter((c) => isNumber(c.metrics[metric]?.difference));

  function meanOf(model, metric) {
    const values = DATA.tasks.map((task) => task.results[model]?.metrics[metric]);
    return values.every(isNumber) ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  }

  function drawAnswer() {
    const name = metricName(state.metric);
    const ranked = DATA.models.map((model) => [model, meanOf(model, state.metric)]).filter(([, mean]) => mean !== null);
    ranked.sort((a, b) => b[1] - a[1]);
    const [first, second] = ranked;
    const over = DATA.tasks.length > 1 ? `mean ${name} over ${DATA.tasks.length} tasks` : `${name}`;
    const next = second ? `, next is ${second[0]} with ${score(second[1])}` : "";
    fill(byId("lede"), first ? [el("b", {}, first[0]), ` has ${second ? "the highest " : ""}${over}: `, el("b", {}, score(first[1])), `${next}.`] : []);
    const compared = inMetric(state.metric);
    if (first && second && !compared.length) byId("lede").append(" Whether that is more than chance was not tested here.");
    const reach = Math.max(...compared.map((c) => c.metrics[state.metric]).flatMap((m) => [m.difference, ...(m.interval ?? [])].map(Math.abs)), 1e-9);
    fill(byId("verdicts"), compared.map((c) => drawVerdict(c, c.metrics[state.metric], reach)));
  }

  function drawVerdict(c, found, reach) {
    const all = found.wins + found.ties + found.losses;
    return el("article", { class: "verdict" },
      el("h3", {}, c.system, el("span", { class: "muted" }, " against "), c.baseline, el("span", { class: "muted block" }, c.task)),
      el("p", { class: "big" }, signed(found.difference), " ", chip(verdict(found)),
        el("span", { class: "muted block small" }, [range(found.interval, 3, signed), isNumber(tested(found)) ? `p ${chance(tested(found)).replace(/^0/, "= 0")}` : ""].filter(Boolean).join(", "))),
      strip(found.difference, found.interval, -reach, reach, true),
      all ? el("p", { class: "small" }, share(found, all), `better on ${count(found.wins, "query", "queries")}, worse on ${found.losses}, equal on ${found.ties}. `,
        found.losses ? el("button", { type: "button", class: "link", onclick: () => openQueries(c, "loss") }, "Where it loses") : null) : null);
  }
  const share = (found, all) => el("span", { class: "share", "aria-hidden": "true" },
    ["wins", "ties", "losses"].map((side) => el("i", { class: side, "--part": `${(100 * found[side]) / all}%` })));

  // The table of tasks and models.
  function drawTable() {
    const metric = state.metric;
    const head = (key, text) => el("th", { scope: "col", "aria-sort": state.sort === key ? (state.down ? "descending" : "ascending") : "none" },
      el("button", { type: "button", onclick: () => { state.down = state.sort === key ? !state.down : key !== ""; state.sort = key; drawTable(); focusHead(key); } },
        text, el("span", { class: "arrow", "aria-hidden": "true" }, state.sort === key ? (state.down ? "↓" : "↑") : "↕")));
    const tasks = [...DATA.tasks];
    const value = (task) => task.results[state.sort]?.metrics[metric] ?? -Infinity;
    if (state.sort === "") tasks.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    else if (state.sort !== null) tasks.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
    if (state.sort !== null && state.down) tasks.reverse();
    const means = DATA.models.map((model) => meanOf(model, metric));
    const best = Math.max(...means.filter(isNumber));
    fill(byId("table"),
      el("thead", {}, el("tr", {}, head("", "Task"), DATA.models.map((model) => head(model, model)))),
      el("tbody", {}, tasks.map((task) => drawTask(task, metric))),
      DATA.tasks.length > 1 ? el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, "Mean"), means.map((mean) =>
        el("td", { class: mean === best ? "best" : "" }, mean === null ? el("span", { class: "muted", title: "not measured on every task" }, "–") : score(mean), mean === best ? hidden(" best") : null)))) : null);
    const baselines = [...new Set(inMetric(metric).map((c) => c.baseline))];
    byId("legend").textContent = `Bold: the highest. Beneath: its 95% interval over queries${baselines.length ? `. ▲ better, ▼ worse than ${baselines.join(" or ")} with p < ${SURE} (Holm-corrected randomisation test)` : ""}.`;
  }
  const focusHead = (key) => byId("table").querySelectorAll("th button")[key === "" ? 0 : DATA.models.indexOf(key) + 1].focus();

  function drawTask(task, metric) {
    const entries = DATA.models.map((model) => task.results[model]);
    const ends = entries.flatMap((entry) => [entry?.metrics[metric], ...(entry?.intervals[metric] ?? [])]).filter(isNumber);
    const best = Math.max(...entries.map((entry) => entry?.metrics[metric]).filter(isNumber));
    return el("tr", {}, el("th", { scope: "row" }, task.name, el("span", { class: "muted small block" }, count(task.ids.length, "query", "queries"))),
      entries.map((entry, i) => {
        const value = entry?.metrics[metric];
        if (!isNumber(value)) return el("td", { class: "muted" }, "–");
        const marks = inMetric(metric).filter((c) => c.task === task.name && c.system === DATA.models[i]).map((c) => [c, verdict(c.metrics[metric])]).filter(([, v]) => v.kind !== "open");
        return el("td", { class: value === best ? "best" : "" }, score(value), value === best ? hidden(" best") : null,
          marks.map(([c, v]) => el("span", { class: `mark ${v.kind}`, title: `${v.word} than ${c.baseline}` }, v.kind === "up" ? "▲" : "▼", hidden(` ${v.word} than ${c.baseline}`))),
          el("span", { class: "muted small block" }, range(entry.intervals[metric])),
          strip(value, entry.intervals[metric], Math.min(...ends), Math.max(...ends)),
          drawPublished(entry, metric));
      }));
  }

  function drawPublished(entry, metric) {
    return (entry.published ?? []).filter((figure) => figure.metric === metric).map((figure) =>
      el("span", { class: "small block", title: figure.source }, `published ${score(figure.value)}`, figure.differs ? el("b", { class: "differs" }, ` ${signed(entry.metrics[metric] - figure.value)}`) : null));
  }

  function drawComparisons() {
    fill(byId("comparisons").querySelector(".list"), DATA.comparisons.map((c) => el("details", {},
      el("summary", {}, `${c.system} against ${c.baseline} on ${c.task} `, c.metrics[DATA.main] ? chip(verdict(c.metrics[DATA.main])) : null),
      scrolled(el("table", {},
        el("thead", {}, el("tr", {}, ["Metric", c.baseline, c.system, "Difference", "95%", "p, randomisation", "p, Holm", "p, t-test", "Effect (d)", "Wins", "Ties", "Losses"].map((text) => el("th", { scope: "col" }, text)))),
        el("tbody", {}, Object.entries(c.metrics).map(([name, m]) => el("tr", {}, el("th", { scope: "row" }, metricName(name)),
          [score(m.baseline), score(m.system), signed(m.difference), range(m.interval, 3, signed), chance(m.p_randomisation), chance(m.p_randomisation_holm), chance(m.p_t), signed(m.effect_size, 2), m.wins ?? "–", m.ties ?? "–", m.losses ?? "–"].map((text) => el("td", {}, text))))))),
      el("div", { class: "sides" }, drawMoved(c, "gained", "Gained most"), drawMoved(c, "lost", "Lost most")))));
  }
  const scrolled = (table) => el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, table);
  const drawMoved = (c, side, heading) => c[side].length ? el("div", {}, el("h4", {}, heading), el("ol", { class: "moved" }, c[side].map((q) => el("li", {},
    el("button", { type: "button", class: "link", onclick: () => openQueries(c, side === "gained" ? "gain" : "loss", q.query) }, q.text || `query ${q.query}`),
    el("span", { class: "muted small block" }, `${score(q.baseline)} → ${score(q.system)}`))))) : null;

  function drawAnalyses() {
    const figures = DATA.analyses.map((a) => el("figure", {}, el("figcaption", {}, el("b", {}, a.title), el("span", { class: "muted small block" }, [a.task, ...a.models].join(" · ")), a.note),
      a.picture ? el("img", { src: a.picture, alt: a.note || a.title, loading: "lazy" }) : null,
      el("p", { class: "small" }, Object.entries(a.links).map(([kind, href]) => [el("a", { href }, kind.toUpperCase()), " "]))));
    const steps = DATA.tasks.flatMap((task) => Object.entries(task.results).filter(([, entry]) => entry.steps?.length).map(([model, entry]) => drawSteps(task, model, entry.steps)));
    fill(byId("analyses").querySelector(".figures"), figures, steps);
  }
  function drawSteps(task, model, steps) {
    const best = Math.max(...steps.map((step) => step[DATA.main]));
    return el("figure", {}, el("figcaption", {}, el("b", {}, "Each thinking step alone"), el("span", { class: "muted small block" }, `${task.name} · ${model}`)), scrolled(el("table", {},
      el("thead", {}, el("tr", {}, ["Step", ...DATA.metrics.map(metricName)].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, steps.map((step, i) => el("tr", {}, el("th", { scope: "row" }, i + 1), DATA.metrics.map((name) => el("td", { class: name === DATA.main && step[name] === best ? "best" : "" }, score(step[name])))))))));
  }

  // Single queries: which, how well, and what was found.
  const choice = () => ({ task: TASKS.get(byId("task").value), left: byId("left").value, right: byId("right").value, order: byId("order").value, filter: byId("filter").value.trim().toLowerCase() });
  function chooseModels(left, right) {
    const models = Object.keys(choice().task.results);
    options(byId("left"), models.map((model) => [model, model]));
    options(byId("right"), [["", "(none)"], ...models.map((model) => [model, model])]);
    byId("left").value = models.includes(left) ? left : models[0];
    byId("right").value = models.includes(right) ? right : models.find((model) => model !== byId("left").value) ?? "";
    chooseOrder();
  }
  function chooseOrder(order = byId("order").value) {
    const pair = [["loss", "lost most first"], ["gain", "gained most first"]];
    options(byId("order"), [...(choice().right ? pair : []), ["low", "lowest score first"], ["high", "highest score first"], ["task", "as in the task"]]);
    byId("order").value = order;
    if (byId("order").selectedIndex < 0) byId("order").selectedIndex = 0;
  }
  function openQueries(c, order, query) {
    byId("task").value = c.task;
    chooseModels(c.system, c.baseline);
    chooseOrder(order);
    byId("filter").value = query === undefined ? "" : `id:${query}`;
    drawQueries();
    if (query !== undefined) byId("rows").querySelector("details")?.setAttribute("open", "");
    byId("queries").scrollIntoView();
    byId("filter").focus({ preventScroll: true });
  }

  function found({ task, left, right, order, filter }) {
    const columns = task.values[state.metric] ?? task.values[DATA.main] ?? {};
    const rows = task.ids.map((id, i) => {
      const [a, b] = [columns[left]?.[i] ?? null, columns[right]?.[i] ?? null];
      return { id, query: task.queries[id], a, b, difference: a !== null && b !== null ? a - b : null };
    });
    const matches = ({ id, query }) => !filter || (filter.startsWith("id:") ? id.toLowerCase() === filter.slice(3).trim()
      : id.toLowerCase() === filter || query?.text.toLowerCase().includes(filter));
    const key = { loss: (row) => row.difference ?? Infinity, gain: (row) => -(row.difference ?? -Infinity), low: (row) => row.a ?? Infinity, high: (row) => -(row.a ?? -Infinity), task: () => 0 }[order];
    return rows.filter(matches).sort((x, y) => key(x) - key(y) || 0);
  }

  function drawQueries() {
    const chosen = choice();
    const rows = found(chosen);
    const texts = Object.keys(chosen.task.queries).length;
    const name = metricName(state.metric in chosen.task.values ? state.metric : DATA.main);
    byId("count").textContent = `${count(rows.length, "query", "queries")} by ${name}${rows.length > state.shown ? `, the first ${state.shown} shown` : ""}. `
      + (texts < chosen.task.ids.length ? `This page holds the texts of ${texts} of ${chosen.task.ids.length}: those that differ most, and a sample; the others are in queries.jsonl.` : "");
    fill(byId("rows"), rows.slice(0, state.shown).map((row) => drawRow(row, chosen)));
    byId("more").hidden = rows.length <= state.shown;
  }

  function drawRow(row, chosen) {
    const value = (x) => score(x === null ? null : x / WHOLE, 3);
    const sign = row.difference > 0 ? "up" : row.difference < 0 ? "down" : "open";
    const node = el("details", { class: "query" }, el("summary", {},
      el("span", { class: "text" }, row.query?.text || `query ${row.id}`),
      el("span", { class: "value" }, hidden(`${chosen.left} `), value(row.a)),
      chosen.right ? [el("span", { class: "value" }, hidden(`${chosen.right} `), value(row.b)),
        el("span", { class: `value ${sign}` }, hidden("difference "), row.difference === null ? "–" : signed(row.difference / WHOLE, 3))] : null));
    node.addEventListener("toggle", () => node.open && node.children.length === 1 && node.append(drawQuery(row, chosen)));
    return node;
  }

  function drawQuery({ id, query }, { task, left, right }) {
    if (!query) return el("p", { class: "muted" }, `Query ${id}. Its text and answers are not on this page, but in ${task.name}/queries.jsonl.`);
    const sides = [left, right].filter((model, i, both) => model && both.indexOf(model) === i);
    return el("div", { class: "answers" }, el("p", { class: "muted small" }, `Query ${id} · ${count(query.relevant, "relevant document")}`),
      el("div", { class: "sides" }, sides.map((model) => drawSide(query, task.documents, model, sides.find((other) => other !== model)))));
  }

  function drawSide(query, documents, model, other) {
    const answers = query.answers[model] ?? [];
    const ranks = new Map((query.answers[other] ?? []).map(([id], i) => [id, i + 1]));
    const listed = new Set(answers.map(([id]) => id));
    const relevant = Object.keys(query.judged).filter((id) => query.judged[id] > 0);
    const missed = relevant.filter((id) => !listed.has(id)).sort((a, b) => query.judged[b] - query.judged[a]);
    const more = query.relevant - relevant.length;
    const line = (id, value) => el("li", {}, gain(query.judged[id]), " ", el("b", {}, documents[id]?.[0] || `document ${id}`),
      documents[id]?.[1] ? el("p", { class: "snippet" }, documents[id][1]) : null,
      el("span", { class: "muted small" }, [documents[id]?.[0] ? id : "", isNumber(value) ? `score ${Number(value.toPrecision(4))}` : "", other ? (ranks.has(id) ? `${other}: rank ${ranks.get(id)}` : `${other}: not in its ten`) : ""].filter(Boolean).join(" · ")));
    return el("div", {}, el("h4", {}, model), answers.length ? el("ol", {}, answers.map(([id, value]) => line(id, value))) : el("p", { class: "muted" }, "No answers are kept here."),
      answers.length && missed.length ? [el("h5", {}, `Relevant, but not in its ten`), el("ul", {}, missed.map((id) => line(id))), more > 0 ? el("p", { class: "muted small" }, `${more} more are relevant.`) : null] : null);
  }
  const gain = (value) => (value === undefined ? el("span", { class: "chip none" }, "not judged")
    : value > 0 ? el("span", { class: "chip up" }, `relevant, ${value}`) : el("span", { class: "chip open" }, "not relevant"));

  function drawMade() {
    const text = (value) => (value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));
    const facts = (heading, pairs) => pairs.length ? [el("h4", {}, heading), el("dl", {}, pairs.map(([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, value)]))] : null;
    const each = (value, write) => Object.entries(value ?? {}).map(([name, one]) => [name, isNumber(one) ? write(one) : text(one)]);
    fill(byId("made").querySelector(".list"), DATA.tasks.flatMap((task) => Object.entries(task.results).map(([model, entry]) => el("details", {}, el("summary", {}, `${model} on ${task.name}`),
      el("div", { class: "facts" }, el("div", {}, facts("Provenance", each(entry.provenance, text))), el("div", {}, facts("Time", each(entry.timings, seconds)), facts("Size", each(entry.sizes, bytes))))))));
  }

  function setTheme(theme) {
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", `Use ${theme === "dark" ? "light" : "dark"} colours`);
  }

  function start() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    setTheme(dark.matches ? "dark" : "light");
    dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
    byId("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
    byId("about").textContent = [count(DATA.tasks.length, "task"), count(DATA.models.length, "model"), count(DATA.tasks.reduce((n, task) => n + task.ids.length, 0), "query", "queries")].join(" · ");
    options(byId("metric"), DATA.metrics.map((name) => [name, metricName(name)]));
    byId("metric").value = state.metric;
    byId("metric").addEventListener("change", () => { state.metric = byId("metric").value; drawAnswer(); drawTable(); drawQueries(); });
    options(byId("task"), DATA.tasks.map((task) => [task.name, task.name]));
    byId("task").addEventListener("change", () => chooseModels(byId("left").value, byId("right").value));
    byId("right").addEventListener("change", () => chooseOrder());
    for (const [id, event] of [["task", "change"], ["left", "change"], ["right", "change"], ["order", "change"], ["filter", "input"]])
      byId(id).addEventListener(event, () => { state.shown = STEP; drawQueries(); });
    byId("queries").querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    byId("more").addEventListener("click", () => { state.shown += STEP; drawQueries(); });
    drawAnswer();
    drawTable();
    drawComparisons();
    drawAnalyses();
    drawMade();
    const first = inMetric(DATA.main)[0];
    if (first) byId("task").value = first.task;
    chooseModels(first?.system, first?.baseline);
    drawQueries();
    for (const [id, list] of [["comparisons", ".list"], ["analyses", ".figures"]]) byId(id).hidden = !byId(id).querySelector(list).childElementCount;
    const sections = [...document.querySelectorAll("main > section:not([hidden])")].slice(1);
    fill(document.querySelector("nav"), sections.map((section) => el("a", { href: `#${section.id}` }, section.querySelector("h2").textContent)));
  }
  start();
})();
