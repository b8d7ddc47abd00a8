// What pages share: elements made from data. All data goes through `el` as text or attributes, never as markup.
export const byId = (id) => document.getElementById(id);

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An element: `onclick` and the like are called, `--name` is a variable of its style, all else is an attribute. */
export function el(name, attributes, ...children) {
  return dressed(document.createElement(name), attributes, children);
}

/** An element of a picture. */
export function svg(name, attributes, ...children) {
  return dressed(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function dressed(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) node.style.setProperty(key, value);
    else node.setAttribute(key, value);
  }
  return fill(node, children);
}

/** Replace the children of a node, by texts and elements in arrays of any depth; null and undefined are left out. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export const span = (kind, ...children) => el("span", { class: kind }, children);
export const hidden = (text) => span("hidden", text);
export const options = (select, pairs) =>
  fill(select, pairs.map(([value, text]) => el("option", { value }, text)));

export const isNumber = (value) => typeof value === "number";
export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
export const listed = (...texts) => texts.filter(Boolean).join(" · ");

/** Colours follow the system until `button` is pressed, which names the other choice. */
export function switchColours(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const choose = (theme) => {
    document.documentElement.dataset.theme = theme;
    const other = theme === "dark" ? "Light" : "Dark";
    button.textContent = other;
    button.setAttribute("aria-label", `${other} colours`);
  };
  const follow = () => choose(dark.matches ? "dark" : "light");
  follow();
  dark.addEventListener("change", follow);
  button.addEventListener("click", () => choose(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
}
