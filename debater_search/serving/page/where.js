// The text of a filter, cut at its outermost `and`s into conditions that controls show, and the rest, kept as it is.
const TOKEN = /\s*(?:('[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")|(`[^`]+`|\[[^\]]+\])|([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_.]))|([\p{L}_][\p{L}\p{N}_.-]*)|(<=|>=|!=|<>|==|[=<>(),]))/uy;
const KINDS = ["text", "name", "number", "word", "symbol"];
const KEYWORDS = ["and", "or", "not", "in", "is", "true", "false"];
const PLAIN = /^[A-Za-z_][\w.-]*$/;

/**
 * {conditions, rest}: field → condition, and the texts of all other parts.
 *
 * A condition is {from, to}, either of which may be undefined; {values: […]}; or {contains: text}.
 */
export function parse(text) {
  const conditions = new Map();
  const parts = split(text);
  if (parts === null) return { conditions, rest: text.trim() ? [text.trim()] : [] };
  const rest = [];
  for (const part of parts) {
    const [field, condition] = understood(part.tokens) ?? [];
    if (condition === undefined || !join(conditions, field, condition)) rest.push(part.text);
  }
  return { conditions, rest };
}

/** The text of a filter; `parse` reads it back. */
export function compose({ conditions, rest }) {
  return [...rest, ...[...conditions].map(([field, condition]) => written(nameOf(field), condition))].join(" and ");
}

/** How a filter names a field; null if it cannot. */
export function nameOf(field) {
  if (!field || field.length > 190) return null;
  if (PLAIN.test(field) && !KEYWORDS.includes(field.toLowerCase())) return field;
  if (!field.includes("`")) return `\`${field}\``;
  return field.includes("]") ? null : `[${field}]`;
}

function written(name, { from, to, values, contains }) {
  if (contains !== undefined) return `${name} contains ${literal(contains)}`;
  if (values !== undefined) {
    return values.length === 1 ? `${name} = ${literal(values[0])}` : `${name} in (${values.map(literal).join(", ")})`;
  }
  if (from === undefined) return `${name} <= ${literal(to)}`;
  if (to === undefined) return `${name} >= ${literal(from)}`;
  return `${name} between ${literal(from)} and ${literal(to)}`;
}

function literal(value) {
  return typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value);
}

/** The parts between outermost `and`s with their tokens; null for what is no filter. */
function split(text) {
  const tokens = tokensOf(text);
  if (tokens === null) return null;
  const parts = [];
  let depth = 0, first = 0, between = false;
  const end = (stop) => {
    const own = tokens.slice(first, stop);
    if (own.length) parts.push({ tokens: own, text: text.slice(own[0].start, own.at(-1).stop) });
    first = stop + 1;
  };
  for (const [at, token] of tokens.entries()) {
    if (token.text === "(") depth += 1;
    if (token.text === ")") depth -= 1;
    if (depth < 0) return null;
    if (depth || token.kind !== "word") continue;
    if (token.word === "or") return [{ tokens: [], text: `(${text.trim()})` }];
    if (token.word === "and" && !between) end(at);
    between = token.word === "between" || (between && token.word !== "and");
  }
  end(tokens.length);
  return depth ? null : parts;
}

function tokensOf(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const found = TOKEN.exec(text);
    if (found === null) return null;
    const at = found.slice(1).findIndex((group) => group !== undefined);
    const own = found[at + 1];
    const token = { kind: KINDS[at], text: own, start: TOKEN.lastIndex - own.length, stop: TOKEN.lastIndex };
    tokens.push({ ...token, word: token.kind === "word" ? own.toLowerCase() : own });
  }
  return tokens;
}

/** [field, condition] of a part; undefined if no control shows it. */
function understood([name, sign, ...rest]) {
  if (name === undefined || sign === undefined || !["word", "name"].includes(name.kind)) return undefined;
  if (name.kind === "word" && KEYWORDS.includes(name.word)) return undefined;
  const field = name.kind === "name" ? name.text.slice(1, -1) : name.text;
  const values = rest.filter((_, at) => at % 2 === (sign.word === "in" ? 1 : 0)).map(valueOf);
  const alone = rest.length === 1 && values[0] !== undefined;
  if (["=", "==", "has"].includes(sign.word) && alone) return [field, { values }];
  if (sign.word === ">=" && alone) return [field, { from: values[0] }];
  if (sign.word === "<=" && alone) return [field, { to: values[0] }];
  if (sign.word === "contains" && alone) return [field, { contains: String(values[0]) }];
  if (sign.word === "between" && rest.length === 3 && !values.includes(undefined)) {
    return [field, { from: values[0], to: values[1] }];
  }
  const listed = rest[0]?.text === "(" && rest.at(-1).text === ")" && rest.length === 2 * values.length + 1;
  return sign.word === "in" && listed && !values.includes(undefined) ? [field, { values }] : undefined;
}

function valueOf(token) {
  if (token.kind === "text") return token.text.slice(1, -1).replaceAll(token.text[0].repeat(2), token.text[0]);
  if (token.kind === "number") return Number(token.text);
  return ["true", "false"].includes(token.word) ? token.word === "true" : undefined;
}

/** Add a condition; two ends of one range are one condition. False if the field has another condition already. */
function join(conditions, field, condition) {
  const before = conditions.get(field);
  const ends = { ...before, ...condition };
  const isRange = (one) => one.values === undefined && one.contains === undefined;
  if (before !== undefined) {
    if (!isRange(before) || !isRange(condition)) return false;
    if (Object.keys(ends).length < Object.keys(before).length + Object.keys(condition).length) return false;
  }
  conditions.set(field, ends);
  return true;
}
