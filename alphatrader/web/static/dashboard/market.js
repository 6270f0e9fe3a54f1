// Quotes of every instrument, the chosen one's line over the chart, its seven metrics, and which gate stopped its signals.

import { DASH, Folds, arrow, compact, direction, el, number, percent, price, seconds, signed, time, unsigned, waiting } from "./format.js";

const get = (id) => document.getElementById(id);

export function marketPanels(board, choose) {
  const quotes = new Quotes(board, choose);
  return [
    { needs: ["quote.", "clock"], draw: () => quotes.draw(), tick: () => quotes.ages() },
    { needs: ["quote."], draw: () => headline(board) },
    { needs: ["@"], draw: () => metrics(board), tick: () => ages(board) },
    { needs: ["@"], draw: () => why(board) },
  ];
}

class Quotes {
  constructor(board, choose) {
    this.board = board;
    this.choose = choose;
    this.rows = new Map();
    this.body = get("quotes").tBodies[0];
  }

  row(name) {
    if (this.rows.has(name)) return this.rows.get(name);
    const button = el("button", { class: "link", text: name, title: `Show ${name}` });
    button.addEventListener("click", () => this.choose(name));
    const cells = Array.from({ length: 5 }, () => el("td", { class: "n" }));
    const node = el("tr", {}, el("th", { scope: "row" }, button), ...cells);
    this.rows.set(name, { node, cells, last: null });
    return this.rows.get(name);
  }

  draw() {
    const found = this.board.group("quote.").sort((a, b) => a[1].order - b[1].order);
    for (const [name, quote] of found) {
      const row = this.row(name);
      const [last, change, bid, ask] = row.cells;
      last.textContent = price(quote.last);
      change.textContent = quote.feed ? `${arrow(quote.change)} ${percent(quote.change_share)}`.trim() : DASH;
      change.title = quote.feed ? `${signed(quote.change)} against the previous close ${price(quote.prev_close)}` : "";
      change.className = `n ${direction(quote.change)}`;
      bid.textContent = price(quote.bid);
      ask.textContent = price(quote.ask);
      bid.title = `size ${number(quote.bid_size, 0)}`;
      ask.title = `size ${number(quote.ask_size, 0)}`;
      if (row.last !== null && quote.last !== row.last && quote.feed) flash(last, quote.last - row.last);
      row.last = quote.last ?? null;
      row.node.classList.toggle("chosen", name === this.board.symbol);
      if (row.node.parentNode !== this.body) this.body.append(row.node);
    }
    this.ages();
  }

  ages() {
    const now = this.board.now();
    let fresh = 0;
    const found = this.board.group("quote.");
    for (const [name, quote] of found) {
      const row = this.rows.get(name);
      if (!row) continue;
      const age = now && quote.received_ms ? (now.market - quote.received_ms) / 1000 / now.speed : null;
      const stale = !quote.feed || age === null || age * 1000 > quote.quiet_ms;
      if (!stale) fresh += 1;
      row.cells[4].textContent = !quote.feed ? "no feed" : quote.flag ?? seconds(age);
      row.cells[4].title = quote.feed ? (quote.warning ?? "") : "";
      row.node.className = [name === this.board.symbol ? "chosen" : "", !quote.feed ? "absent" : stale ? "stale" : ""].join(" ").trim();
      row.node.title = !quote.feed ? "Its key is absent: nothing is known of it now" : stale ? "No news for a while: do not trust this price" : "";
    }
    get("quotes-note").textContent = found.length ? `${fresh} of ${found.length} fresh` : "waiting for the data server";
  }
}

function flash(node, move) {
  node.classList.remove("rose", "fell");
  void node.offsetWidth;
  node.classList.add(move > 0 ? "rose" : "fell");
}

function headline(board) {
  const quote = board.get(`quote.${board.symbol}`);
  const node = get("chart-quote");
  if (!quote || !quote.feed) return node.replaceChildren(el("span", { class: "muted", text: quote ? "no feed" : "waiting" }));
  node.replaceChildren(
    el("strong", { text: price(quote.last) }),
    el("span", { class: direction(quote.change), text: `${arrow(quote.change)} ${signed(quote.change)} (${percent(quote.change_share)})` }),
    el("span", { class: "muted", text: `O ${price(quote.open)}  H ${price(quote.high)}  L ${price(quote.low)}` }),
  );
}

// What a metric is called, what it is about, and how its value is written. Which of its parts are shown, the view says.
const METRICS = {
  vpin: ["VPIN", "order-flow toxicity", unsigned],
  obi: ["OBI", "book imbalance", compact],
  gex: ["GEX", "gamma exposure", compact],
  dex: ["DEX", "delta exposure", compact],
  sweep: ["Sweep", "sweeps across venues", compact],
  hidden: ["Hidden", "hidden and iceberg", unsigned],
  regime: ["Regime", "market regime", compact],
  makers: ["Makers", "displayed interest of named market makers", compact],
};

const part = (value) => (typeof value === "number" ? (Math.abs(value) >= 1000 ? unsigned(value) : number(value, Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 2 : 3)) : value === null ? DASH : String(value));

function metrics(board) {
  const nodes = Object.entries(METRICS).map(([name, [title, about, written]]) => {
    const metric = board.own(`metric.${name}`);
    if (!metric) return el("div", { class: "metric" }, el("h3", { text: title, title: about }), el("span", { class: "reason", text: "waiting" }));
    const parts = metric.known ? metric.shown : [];
    return el(
      "div",
      { class: `metric ${metric.ready ? "" : "absent"}`, title: metric.known ? `${about}. ${metric.convention}. n = ${metric.n}` : about },
      el("h3", {}, title, el("small", { class: "muted", "data-at": metric.at_ms, text: "" })),
      metric.ready ? el("b", { class: "value", text: metric.name ?? written(metric.value) }) : el("span", { class: "reason", text: metric.known ? metric.reason || "not ready" : "no word from analytics" }),
      metric.ready ? el("small", { class: "muted", text: `${metric.units}${metric.n ? ` · n ${number(metric.n, 0)}` : ""}` }) : null,
      parts.length ? el("dl", { class: "parts" }, ...parts.flatMap(([key, v]) => [el("dt", { text: key.replaceAll("_", " ") }), el("dd", { text: part(v) })])) : null,
    );
  });
  get("metrics").replaceChildren(...nodes);
  ages(board);
}

function ages(board) {
  const now = board.now();
  if (!now) return;
  for (const node of document.querySelectorAll("#metrics [data-at]")) node.textContent = seconds((now.market - Number(node.dataset.at)) / 1000 / now.speed);
}

const windows = new Folds(get("why"));

function why(board) {
  const found = board.own("why");
  if (!found || !found.known) return windows.draw([waiting(`waiting for signals to look at ${board.symbol}: futures and indices have none`)]);
  const blocks = Object.entries(found.by_strategy).map(([strategy, gates]) => {
    const stopped = gates.filter((gate) => !gate.passed);
    const first = stopped[0];
    return {
      key: `${board.symbol} ${strategy}`,
      open: stopped.length > 0 && stopped.length < gates.length,
      summary: [el("b", { text: strategy }), " ", first ? el("span", { class: "warn", text: `✕ ${first.name}` }) : el("span", { class: "up", text: "✓ every gate passed" })],
      body: [el("ul", { class: "gates" }, ...gates.map((gate) => el("li", { class: gate.passed ? "passed" : "stopped" }, el("span", { text: `${gate.passed ? "✓" : "✕"} ${gate.name}` }), el("span", { class: "muted", text: `${gate.value} · needs ${gate.needed}` }))))],
    };
  });
  windows.draw([el("p", { class: "muted", text: `as of ${time(found.at_ms)} ET` }), ...(blocks.length ? blocks : [waiting("no strategy looks at it now")])]);
}
