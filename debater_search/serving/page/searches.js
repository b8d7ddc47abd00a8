// The requests of searches: what the state asks of an index, and which values are counted beside the filters.
import { compose, parse } from "./where.js";

const RERANKED = 20; // hits
const COUNTED = 20; // fields that the server counts in one search

export const hasVectors = (facts) => facts.modes.includes("dense");
export const modeOf = (state, facts) => (hasVectors(facts) ? state.mode : "lexical");

/** Whether there is a question; without one a filter lists documents in the order of the index. */
export const asks = (state) => Boolean(state.q.trim() || state.like);

/** Path below the index, and body, of the request for `k` hits, or listed documents, after the first `offset`. */
export function hitsRequest(state, facts, range) {
  if (asks(state)) return ["search", hitsBody(state, facts, range)];
  return [`documents?${new URLSearchParams({ where: state.where, k: range.k, offset: range.offset })}`];
}

/** The search for `k` hits after the first `offset`, which counts those of `fields` that have no ticked values. */
function hitsBody(state, facts, { offset, k, fields = [] }) {
  const ticked = tickedAmong(fields, parse(state.where));
  return {
    ...question(state, facts, state.where),
    ...(state.explain ? { explain: true } : {}),
    ...(state.rerank && facts.reranks && !state.like ? { rerank: RERANKED } : {}),
    k, offset,
    facets: fields.filter((field) => !ticked.includes(field)).slice(0, COUNTED),
  };
}

/** For each of `fields` that has ticked values, a search that counts it without them, since one more value widens the choice. */
export function countingRequests(state, facts, fields) {
  const filter = parse(state.where);
  return tickedAmong(fields, filter).map((field) => {
    const others = new Map([...filter.conditions].filter(([name]) => name !== field));
    const body = { ...question(state, facts, compose({ ...filter, conditions: others })), k: 1, facets: [field] };
    return ["search", body];
  });
}

/** Field → [[value, documents], …]: what answers count; an answer is undefined where its request failed. */
export function countsOf(answers) {
  const facets = answers.flatMap((answer) => Object.entries(answer?.facets ?? {}));
  return new Map(facets.map(([field, { values }]) => [field, values]));
}

const tickedAmong = (fields, { conditions }) => fields.filter((field) => conditions.get(field)?.values !== undefined);

function question(state, facts, where) {
  return {
    ...(state.like ? { like: state.like } : { query: state.q }),
    ...(where.trim() ? { where } : {}),
    mode: modeOf(state, facts),
  };
}
