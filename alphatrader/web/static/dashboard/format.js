// Numbers, instants and elements as the page shows them. Missing is a dash, never a zero.

export const DASH = "—";

const fixed = new Map();
function formatter(digits) {
  if (!fixed.has(digits)) fixed.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return fixed.get(digits);
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const number = (value, digits = 2) => (known(value) ? formatter(digits).format(value).replace("-", "−") : DASH);
export const signed = (value, digits = 2) => (known(value) ? (value > 0 ? "+" : "") + number(value, digits) : DASH);
export const percent = (share, digits = 2) => (known(share) ? signed(share * 100, digits) + "%" : DASH);

export function money(value, digits = 2) {
  if (!known(value)) return DASH;
  return (value < 0 ? "−$" : "$") + formatter(digits).format(Math.abs(value));
}
export const signedMoney = (value, digits = 2) => (known(value) ? (value > 0 ? "+" : "") + money(value, digits) : DASH);

// Prices of futures and indices have fewer useful digits than those of shares.
export const price = (value) => number(value, known(value) && Math.abs(value) >= 10000 ? 0 : 2);

export function compact(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  for (const [limit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= limit) return signed(value / limit, 2) + letter;
  }
  return signed(value, size >= 100 ? 0 : 2);
}

export const unsigned = (value) => compact(value).replace("+", "");

export function seconds(s) {
  if (!known(s)) return DASH;
  if (s < 0) s = 0;
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 120) return Math.round(s) + " s";
  if (s < 7200) return Math.round(s / 60) + " min";
  if (s < 172800) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}

const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const dated = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", weekday: "short", day: "numeric", month: "short" });
export const time = (ms) => (known(ms) ? clock.format(ms) : DASH);
export const day = (ms) => (known(ms) ? dated.format(ms) : DASH);

// +1, -1 or 0 as a class and as a sign, so that colour never stands alone.
export const direction = (value) => (!known(value) || value === 0 ? "flat" : value > 0 ? "up" : "down");
export const arrow = (value) => ({ up: "▲", down: "▼", flat: "" })[direction(value)];

// An element; text is always text, never markup.
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A table: columns are [title, class]; each row is a list of cells (text, or [text, class, hover], or a node), or {class, cells}.
export function table(columns, rows, label) {
  const head = el("tr", {}, ...columns.map(([title, kind]) => el("th", { text: title, class: kind, scope: "col" })));
  const body = rows.map((row) => {
    const cells = Array.isArray(row) ? row : row.cells;
    return el("tr", { class: row.class, title: row.hover }, ...cells.map((cell, i) => {
      if (cell instanceof Node) return el("td", { class: columns[i][1] }, cell);
      const [text, kind, hover] = Array.isArray(cell) ? cell : [cell];
      return el("td", { text, class: [columns[i][1], kind].filter(Boolean).join(" "), title: hover });
    }));
  });
  return el("table", { "aria-label": label }, el("thead", {}, head), el("tbody", {}, ...body));
}

// Details by a key, made once: what a person opened, closed or stands on stays so while its content is renewed.
export class Folds {
  constructor(place) {
    this.place = place;
    this.nodes = new Map();
  }

  // Each of `items` is a node, or {key, open, summary, body}: whether it is open until somebody touches it, and texts or nodes.
  draw(items) {
    const wanted = items.map((item) => (item instanceof Node ? item : this.node(item)));
    const keys = new Set(items.map((item) => item.key));
    for (const key of this.nodes.keys()) if (!keys.has(key)) this.nodes.delete(key);
    const shown = this.place.children;
    for (const [i, node] of wanted.entries()) {
      if (shown[i] === node) continue;
      if (isPlain(node) && shown[i] && isPlain(shown[i])) shown[i].replaceWith(node);
      else this.place.insertBefore(node, shown[i] || null);
    }
    while (shown.length > wanted.length) this.place.lastElementChild.remove();
  }

  node({ key, open, summary, body }) {
    if (!this.nodes.has(key)) {
      const made = el("details", {}, el("summary"), el("div"));
      made.firstChild.addEventListener("click", () => (made.dataset.touched = ""));
      this.nodes.set(key, made);
    }
    const node = this.nodes.get(key);
    if (!("touched" in node.dataset)) node.open = open;
    node.firstChild.replaceChildren(...summary);
    node.lastChild.replaceChildren(...body);
    return node;
  }
}

const isPlain = (node) => node.tagName !== "DETAILS";

export const waiting = (text) => el("p", { class: "waiting", text });
