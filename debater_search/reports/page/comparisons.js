// Two models on the queries of a task: by how much one is better, whether that is sure, and where.
const inMetric = (metric) => DATA.comparisons.filter((one) => isNumber(one.metrics[metric]?.difference));
const tested = (found) => found.p_randomisation_holm ?? found.p_randomisation;
const testedByT = (found) => found.p_t_holm ?? found.p_t;

function verdict(found) {
  const p = tested(found);
  if (!isNumber(p)) return { word: "not tested", kind: "open", sign: "" };
  if (p >= SURE) return { word: "not significant", kind: "open", sign: "" };
  return found.difference > 0 ? { word: "better", kind: "up", sign: "▲ " } : { word: "worse", kind: "down", sign: "▼ " };
}

/** What the tests of a comparison found, over all of its metrics: the end of a sentence that begins with the system. */
function findings(one) {
  const compared = Object.entries(one.metrics).filter(([metric, found]) => isMerit(metric) && isNumber(found.difference));
  const metricsThat = (word) => joined(compared.filter(([, found]) => verdict(found).word === word).map(([metric]) => metricName(metric)));
  const [better, worse, open] = ["better", "worse", "not significant"].map(metricsThat);
  const sure = [better && `significantly better in ${better}`, worse && `significantly worse in ${worse}`].filter(Boolean);
  if (!sure.length) return open ? `does not differ significantly in ${open}` : "was not tested for significance";
  return `is ${sure.join(" and ")}${open ? `; no significant difference in ${open}` : ""}`;
}
const joined = (words) => words.join(", ").replace(/, ([^,]*)$/, " and $1");
const chip = ({ word, kind, sign }) => span(`chip ${kind}`, sign, word);

function drawCards() {
  const compared = inMetric(state.metric).map((one) => [one, one.metrics[state.metric]]);
  const sizes = compared.flatMap(([, found]) => [found.difference, ...(found.interval ?? [])]).map(Math.abs);
  const reach = Math.max(1e-9, ...sizes);
  const cards = compared.map(([one, found]) => drawCard(one, found, reach));
  const grid = (some) => el("div", { class: "cards" }, some);
  const rest = cards.splice(CARDS);
  const more = rest.length ? el("details", {}, el("summary", {}, `${rest.length} more`), grid(rest)) : null;
  fill(byId("verdicts"), grid(cards), more, cards.length ? drawLegend() : null);
}

/** What the bars of the cards mean. */
function drawLegend() {
  const key = (kind, text) => el("span", { class: "key" }, el("i", { class: kind, "aria-hidden": "true" }), text);
  const bars = [key("dot", "difference"), key("ci", "95% interval, on one scale in all cards")];
  const shares = [key("wins", "share of queries answered better"), key("ties", "equally"), key("losses", "worse")];
  const p = [
    `p: the chance of a difference at least this large if the two models were equal. Below ${SURE} by the randomisation `,
    "test it is significant. Holm: corrected for the number of metrics and models compared on the task. ",
    "Intervals are not corrected: one may leave out 0 although the difference is not significant.",
  ];
  return [el("p", { class: "keys small muted" }, bars, shares), el("p", { class: "small muted" }, p)];
}

/** The p values of both tests, in words; "" where none was made. */
function chances(found) {
  const made = [["randomisation", tested(found)], ["t-test", testedByT(found)]].filter(([, p]) => isNumber(p));
  const words = made.map(([test, p]) => `${chance(p)} by ${test}`).join(", ");
  return words && `p${isNumber(found.p_randomisation_holm) ? " (Holm)" : ""}: ${words}`;
}

function drawCard(one, found, reach) {
  const interval = found.interval ? `95% interval ${range(found.interval, signed)}` : null;
  const zero = el("i", { class: "zero", "--at": "50%" });
  return el(
    "article",
    { class: "card" },
    el("h3", {}, one.system, span("muted", " against "), one.baseline, note(listed(one.task, metricName(state.metric)))),
    el("p", { class: "big" }, signed(found.difference), " ", chip(verdict(found))),
    el("p", { class: "muted small" }, span("block", interval), span("block", chances(found))),
    el("div", {}, strip(found.difference, found.interval, -reach, reach, zero), scaleOf(signed(-reach, 3), "0", signed(reach, 3))),
    drawShares(one, found),
    DATA.comparisons.length > SENTENCES ? el("p", { class: "small" }, `${one.system} ${findings(one)}.`) : null, // else it was said
  );
}

function drawShares(one, found) {
  const all = found.wins + found.ties + found.losses;
  if (!all) return null;
  const part = (side) => el("i", { class: side, "--part": `${(100 * found[side]) / all}%` });
  const bar = el("span", { class: "share", "aria-hidden": "true" }, ["wins", "ties", "losses"].map(part));
  const words = `Better on ${queriesOf(found.wins)}, worse on ${found.losses}, equal on ${found.ties}. `;
  return el("p", { class: "small" }, bar, words, found.losses ? lossesLink(one) : null);
}

/** Leads to all queries of a comparison, worst first; without their values, to those that the comparison names. */
function lossesLink(one) {
  const text = "Where it loses";
  if (hasQueries(one)) return queriesLink(text, one, "loss");
  return one.lost.length ? linkTo("#comparisons", text, () => openComparison(one)) : null;
}

/** Leads to the queries of a comparison, or to one of them. */
const queriesLink = (text, one, order, query) => linkTo("#queries", text, () => openQueries(one, order, query));

function linkTo(href, text, go) {
  const open = (event) => {
    event.preventDefault();
    go();
  };
  return el("a", { href, onclick: open }, text);
}

function openComparison(one) {
  const node = byId("comparisons").querySelectorAll(".list > details")[DATA.comparisons.indexOf(one)];
  node.setAttribute("open", "");
  node.scrollIntoView();
  node.querySelector("summary").focus({ preventScroll: true });
}

function drawComparisons() {
  fill(byId("comparisons").querySelector(".list"), DATA.comparisons.map(drawComparison));
}

function drawComparison(one) {
  const tests = ["p", "p, Holm", "p, t-test", "p, t-test, Holm"];
  const heads = ["Metric", one.baseline, one.system, "Difference", "95% interval", ...tests, "Effect (d)"];
  const rows = Object.entries(one.metrics).map(([metric, found]) => [
    metricName(metric),
    score(found.baseline),
    score(found.system),
    drawDifference(found),
    range(found.interval, signed),
    ...[found.p_randomisation, found.p_randomisation_holm, found.p_t, found.p_t_holm].map(drawChance),
    signed(found.effect_size, 2),
    ...[found.wins, found.ties, found.losses].map((n) => n ?? "–"),
  ]);
  return el(
    "details",
    {},
    el("summary", {}, `${one.system} against ${one.baseline} on ${one.task}`, note(`${one.system} ${findings(one)}.`)),
    tableOf([...heads, "Wins", "Ties", "Losses"], rows),
    el("p", { class: "muted small" }, `p: paired randomisation test. Holm: corrected for the number of tests. ▲ ▼: significant after this correction. Intervals are not corrected. Bold: p < ${SURE}.`),
    el("div", { class: "sides" }, drawMoved(one, "gained", "gain"), drawMoved(one, "lost", "loss")),
  );
}

/** The difference, marked where it is significant. */
function drawDifference(found) {
  const { word, kind, sign } = verdict(found);
  const text = signed(found.difference);
  return sign ? el("td", { class: `sure ${kind}` }, sign, text, hidden(` significantly ${word}`)) : text;
}

const drawChance = (p) => (isNumber(p) && p < SURE ? el("td", { class: "sure" }, chance(p)) : chance(p));

function drawMoved(one, side, order) {
  if (!one[side].length) return null;
  const items = one[side].map((query) => {
    const text = query.text || TASKS.get(one.task)?.queries[query.query]?.text || `query ${query.query}`;
    return el("li", {}, queriesLink(text, one, order, query.query), note(`${score(query.baseline)} → ${score(query.system)}`));
  });
  return el("div", {}, el("h4", {}, side === "gained" ? "Gained most" : "Lost most"), el("ol", {}, items));
}
