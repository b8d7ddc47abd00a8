// The bodies of searches: what the state asks of an index, and which values are counted beside the filters.
import { compose, parse } from "./where.js";

const RERANKED = 20; // hits
const COUNTED = 20; // fields that the server counts in one search

export const hasVectors = (facts) => facts.modes.includes("dense");
export const modeOf = (state, facts) => (hasVectors(facts) ? state.mode : "lexical");

/** The search for `k` hits after the first `offset`, which counts those of `fields` that have no ticked values. */
export function hitsBody(state, facts, { offset, k, fields = [] }) {
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
export function countingBodies(state, facts, fields) {
  const filter = parse(state.where);
  return tickedAmong(fields, filter).map((field) => {
    const others = new Map([...filter.conditions].filter(([name]) => name !== field));
    return { ...question(state, facts, compose({ ...filter, conditions: others })), k: 1, facets: [field] };
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
