// Requests to the server, and what goes wrong with them in sentences.
import { isObject } from "./dom.js";

const KEY = "debater-key";
const SENTENCES = {
  403: ["This key may not do that.", "Ask the server's administrator for a key with this scope."],
  404: ["The server does not have that.", "It may have been removed. Reload the page."],
  413: ["The request is too long.", "Shorten the query or the filter."],
  429: ["The server is busy.", ""],
  503: ["The server is not ready.", ""],
  504: ["The server took too long.", "Try again."],
};

export class ApiError extends Error {
  /** `wait`: seconds after which the same request may work; 0 if waiting does not help. */
  constructor(status, message, { hint = "", code = "", wait = 0 } = {}) {
    super(message);
    Object.assign(this, { status, hint, code, wait });
  }
}

export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** The answer to a request: GET, or POST where there is a body. Throws ApiError, and AbortError where it was aborted. */
export async function ask(path, { body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (hasKey()) headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const method = body === undefined ? "GET" : "POST";
  let response, answer;
  try {
    response = await fetch(path, { method, headers, body: JSON.stringify(body), signal, cache: "no-store" });
    answer = await response.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.", { hint: "Check that it runs and that you are online." });
  }
  if (!response.ok) throw errorOf(response, answer);
  if (!isObject(answer)) throw new ApiError(response.status, "The answer is not JSON.", { hint: "Reload the page." });
  return answer;
}

function errorOf(response, answer) {
  const said = isObject(answer?.error) ? answer.error : { message: answer?.reason };
  const text = (value) => (typeof value === "string" ? value : "");
  const [sentence, advice] = SENTENCES[response.status] ?? [`The server answered with status ${response.status}.`, "Try again."];
  const seconds = Number(response.headers.get("Retry-After")); // where waiting helps
  return new ApiError(response.status, text(said.message) || sentence, {
    hint: text(said.message) ? text(said.hint) : advice,
    code: text(said.code),
    wait: seconds > 0 ? Math.min(60, seconds) : 0,
  });
}

export const indexPath = (index, ...rest) => ["v1", "indexes", ...[index, ...rest].map(encodeURIComponent)].join("/");

/** Whether an error is about the filter of a request. */
export const isAboutFilter = ({ status, code, message }) =>
  status < 500 && (/filter|field/.test(code) || /^The filter|^No document has/.test(message));
