// The chosen symbol from near: gamma by strike, the book as a heat map, the strip of VPIN and OBI, and the tape of sweeps.

import { arrow, el, price, seconds, table, time, unsigned, waiting } from "./format.js";

const get = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const HEAT_MS = 120000; // what the heat map's width stands for
const LABEL_STEP = 11; // least distance of two lines of text in a canvas

export class Microstructure {
  constructor(board) {
    this.board = board;
    this.books = []; // [when, book] of each change within HEAT_MS; null is a hole
    this.strip = new Strip(get("strip-chart"));
    const redraw = () => { this.profile(); this.heat(); };
    window.addEventListener("themechange", () => { redraw(); this.strip.theme(); });
    new ResizeObserver(redraw).observe(get("profile").parentNode);
  }

  panels() {
    const own = (part) => [`@${this.board.symbol}.${part}`];
    return [
      { get needs() { return own("profile"); }, draw: () => this.profile() },
      { get needs() { return [...own("depth"), "link"]; }, draw: () => this.depth(), tick: () => this.heat() },
      { get needs() { return own("metric.vpin"); }, draw: () => this.strip.add(this.board) },
      { get needs() { return own("metric.sweep"); }, draw: () => sweeps(this.board) },
    ];
  }

  load(symbol) {
    this.books = [];
    this.strip.load(symbol);
  }

  profile() {
    const found = this.board.own("profile");
    const rows = found ? found.rows : [];
    const most = Math.max(0, ...rows.map(([, call, put]) => Math.max(Math.abs(call), Math.abs(put)))) || 1;
    get("profile-note").textContent = !found ? "waiting" : found.ready ? `USD per 1 %: calls right, puts left; longest ${unsigned(most)}` : found.reason;
    const { pen, width, height } = canvas("profile");
    if (!rows.length) return;
    const label = 46;
    const middle = label + (width - label) / 2;
    const step = height / rows.length;
    const at = (strike) => {
      let i = rows.findIndex(([s]) => s >= strike);
      if (i < 0) i = rows.length - 1;
      const [low, high] = [rows[Math.max(0, i - 1)][0], rows[i][0]];
      const share = high > low ? (strike - low) / (high - low) : 1;
      return height - (Math.max(0, i - 1) + Math.min(1, Math.max(0, share)) * (i > 0 ? 1 : 0) + 0.5) * step;
    };
    rows.forEach(([strike, call, put], i) => {
      const y = height - (i + 1) * step;
      const reach = (value) => (Math.abs(value) / most) * (width - label) * 0.48;
      pen.fillStyle = css("--up");
      pen.fillRect(middle, y + step * 0.15, reach(call), step * 0.7);
      pen.fillStyle = css("--down");
      pen.fillRect(middle - reach(put), y + step * 0.15, reach(put), step * 0.7);
      if (i % Math.ceil(13 / step) === 0) text(pen, String(strike), 0, Math.min(height - 6, Math.max(6, y + step / 2)), css("--muted"));
    });
    const marks = [["spot", "--text"], ["flip", "--accent"], ["call_wall", "--up"], ["put_wall", "--down"]]
      .filter(([name]) => typeof found[name] === "number" && found[name] >= rows[0][0] && found[name] <= rows[rows.length - 1][0])
      .map(([name, colour]) => ({ y: at(found[name]), title: `${name.replace("_", " ")} ${price(found[name])}`, colour: css(colour), whole: name === "spot" }))
      .sort((a, b) => a.y - b.y);
    for (const mark of marks) line(pen, label, mark.y, width, mark.colour, mark.whole ? [] : [4, 3]);
    let above = -LABEL_STEP;
    marks.forEach(({ y, title, colour }, i) => {
      above = Math.max(above + LABEL_STEP, Math.min(Math.max(y - 7, 6), height - 6 - LABEL_STEP * (marks.length - 1 - i)));
      const x = width - pen.measureText(title).width - 4;
      pen.fillStyle = css("--panel");
      pen.fillRect(x - 2, above - LABEL_STEP / 2, width - x, LABEL_STEP);
      text(pen, title, x, above, colour);
    });
  }

  depth() {
    const found = this.board.own("depth");
    if (!found) return;
    get("heat-note").textContent = !found.ready ? found.reason : found.source === "depth" ? `resting size by price, last ${seconds(HEAT_MS / 1000)}` : "best quote only: no depth line for this symbol now";
    this.books.push([performance.now(), found.ready && this.board.link.up ? found : null]); // a book that is not ready or not known is a hole
    this.heat();
  }

  heat() {
    const { pen, width, height } = canvas("heat");
    const now = performance.now();
    while (this.books.length > 1 && this.books[1][0] < now - HEAT_MS) this.books.shift();
    const books = this.books.map(([, book]) => book).filter(Boolean);
    if (!books.length) return;
    const prices = books.flatMap((book) => [...book.bids, ...book.asks].map(([p]) => p));
    const [low, high] = [Math.min(...prices), Math.max(...prices)];
    const sizes = books.flatMap((book) => [...book.bids, ...book.asks].map(([, size]) => size)).sort((a, b) => a - b);
    const full = sizes[Math.floor(sizes.length * 0.95)] || 1;
    const ticks = [...new Set(prices)].sort((a, b) => a - b);
    const tick = ticks.slice(1).reduce((least, p, i) => Math.min(least, p - ticks[i]), Infinity);
    const rows = Number.isFinite(tick) ? Math.min(400, Math.round((high - low) / tick) + 1) : 1;
    const label = 58;
    const row = height / rows;
    const x = (when) => Math.max(0, (1 - (now - when) / HEAT_MS) * (width - label));
    const y = (p) => height - ((p - low) / (high - low || 1)) * (height - row) - row;
    this.books.forEach(([when, book], i) => {
      if (!book) return;
      const from = x(when);
      const until = x(i + 1 < this.books.length ? this.books[i + 1][0] : now);
      for (const [side, colour] of [[book.bids, css("--up")], [book.asks, css("--down")]]) {
        pen.fillStyle = colour;
        for (const [p, size] of side) {
          pen.globalAlpha = 0.12 + 0.88 * Math.min(1, size / full);
          pen.fillRect(from, y(p), until - from, Math.max(1, row));
        }
      }
    });
    pen.globalAlpha = 1;
    const [, newest] = this.books[this.books.length - 1];
    for (const [side, colour] of !newest ? [] : [[newest.asks, "--down"], [newest.bids, "--up"]]) {
      if (side.length) text(pen, price(side[0][0]), width - label + 4, y(side[0][0]) + (side === newest.asks ? -3 : row + 3), css(colour));
    }
    text(pen, price(high), width - label + 4, 6, css("--muted"));
    text(pen, price(low), width - label + 4, height - 6, css("--muted"));
  }
}

class Strip {
  constructor(place) {
    this.chart = LightweightCharts.createChart(place, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.documentElement).fontFamily, fontSize: 10 },
      timeScale: { timeVisible: true, secondsVisible: false, tickMarkFormatter: (s) => time(s * 1000).slice(0, 5) },
      localization: { timeFormatter: (s) => time(s * 1000) + " ET" },
      leftPriceScale: { visible: true },
      handleScroll: false,
      handleScale: false,
    });
    place.firstElementChild.setAttribute("aria-hidden", "true"); // its layout is a table of canvases; the place itself has a name
    this.vpin = this.chart.addSeries(LightweightCharts.LineSeries, { lineWidth: 2, priceLineVisible: false, title: "VPIN" });
    this.obi = this.chart.addSeries(LightweightCharts.LineSeries, { lineWidth: 1, priceLineVisible: false, priceScaleId: "left", title: "OBI" });
    this.newest = 0;
    this.theme();
  }

  theme() {
    this.chart.applyOptions({
      layout: { background: { type: "solid", color: css("--panel") }, textColor: css("--muted") },
      grid: { vertLines: { visible: false }, horzLines: { color: css("--line") } },
      rightPriceScale: { borderColor: css("--line") },
      leftPriceScale: { borderColor: css("--line") },
      timeScale: { borderColor: css("--line") },
    });
    this.vpin.applyOptions({ color: css("--accent") });
    this.obi.applyOptions({ color: css("--muted") });
  }

  async load(symbol) {
    this.symbol = symbol;
    this.newest = 0;
    this.vpin.setData([]);
    this.obi.setData([]);
    const note = get("strip-note");
    note.textContent = "loading";
    const answer = await fetch(`/api/trail/${encodeURIComponent(symbol)}`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (symbol !== this.symbol) return;
    if (!answer || !answer.ok) {
      note.textContent = "cannot be read now; drawn from here on";
      return;
    }
    const { trail } = await answer.json();
    if (symbol !== this.symbol) return;
    note.textContent = "last quarter of an hour, ET: VPIN right, OBI left";
    this.vpin.setData(trail.map(([t, vpin]) => point(t, vpin)));
    this.obi.setData(trail.map(([t, , obi]) => point(t, obi)));
    this.newest = trail.length ? trail[trail.length - 1][0] : 0;
    this.chart.timeScale().fitContent();
  }

  add(board) {
    const vpin = board.own("metric.vpin");
    const obi = board.own("metric.obi");
    if (!vpin || !vpin.known || board.symbol !== this.symbol) return;
    const at = Math.floor(vpin.at_ms / 2000) * 2;
    if (at < this.newest) return;
    this.newest = at;
    this.vpin.update(point(at, vpin.value));
    this.obi.update(point(at, obi && obi.known ? obi.value : null));
  }
}

const point = (t, value) => (typeof value === "number" ? { time: t, value } : { time: t });

function sweeps(board) {
  const metric = board.own("metric.sweep");
  const place = get("sweeps");
  get("sweeps-note").textContent = metric && metric.known && !metric.ready ? metric.reason : "";
  if (!metric || !metric.known) return place.replaceChildren(waiting(metric ? "no word from analytics" : "waiting"));
  const found = metric.tape;
  if (!found.length) return place.replaceChildren(waiting(metric.ready ? "none in the last minute" : "none is known"));
  const now = board.now();
  const rows = [...found].reverse().map((sweep) => ({
    cells: [
      now ? seconds((now.market - sweep.at_ms) / 1000 / now.speed) : time(sweep.at_ms),
      [`${arrow(sweep.side === "buy" ? 1 : -1)} ${sweep.side}`, sweep.side === "buy" ? "up" : "down"],
      unsigned(sweep.notional_usd),
      el("span", { text: String(sweep.venues.length), title: sweep.venues.join(", ") }),
    ],
  }));
  place.replaceChildren(table([["Ago", "n"], ["Side"], ["USD", "n"], ["Venues", "n"]], rows, "Sweeps, newest first"));
}

// A canvas made ready at the screen's own resolution and emptied.
function canvas(id) {
  const node = get(id);
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [node.clientWidth, node.clientHeight];
  if (node.width !== Math.round(width * scale) || node.height !== Math.round(height * scale)) {
    node.width = Math.round(width * scale);
    node.height = Math.round(height * scale);
  }
  const pen = node.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `10px ${getComputedStyle(document.documentElement).fontFamily}`;
  pen.textBaseline = "middle";
  return { pen, width, height };
}

function text(pen, words, x, y, colour) {
  pen.fillStyle = colour;
  pen.fillText(words, x, y);
}

function line(pen, x, y, to, colour, dash) {
  pen.strokeStyle = colour;
  pen.setLineDash(dash);
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(to, y);
  pen.stroke();
  pen.setLineDash([]);
}
