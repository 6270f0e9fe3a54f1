// The candle chart of the chosen symbol: history over HTTP, the open minute live, with gamma walls and open positions' place.

import { time } from "./format.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LEVELS = [["call_wall", "call wall", "--up"], ["put_wall", "put wall", "--down"], ["flip", "flip", "--accent"]];

export class Chart {
  constructor(place, board) {
    this.board = board;
    this.note = document.getElementById("chart-note");
    this.chart = LightweightCharts.createChart(place, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.documentElement).fontFamily, fontSize: 11 },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4, tickMarkFormatter: (s) => time(s * 1000).slice(0, 5) },
      localization: { timeFormatter: (s) => time(s * 1000).slice(0, 5) + " ET" },
      crosshair: { mode: 0 },
    });
    place.firstElementChild.setAttribute("aria-hidden", "true"); // its layout is a table of canvases; the place itself has a name
    this.candles = this.chart.addSeries(LightweightCharts.CandlestickSeries, {});
    this.volume = this.chart.addSeries(LightweightCharts.HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.lines = new Map();
    this.newest = 0;
    this.theme();
    window.addEventListener("themechange", () => { this.theme(); this.load(this.symbol); });
  }

  theme() {
    const [up, down, grid] = [css("--up"), css("--down"), css("--line")];
    this.chart.applyOptions({
      layout: { background: { type: "solid", color: css("--panel") }, textColor: css("--muted") },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderColor: grid },
      timeScale: { borderColor: grid },
    });
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, borderVisible: false });
  }

  async load(symbol) {
    this.symbol = symbol;
    this.newest = 0;
    this.candles.setData([]);
    this.volume.setData([]);
    for (const line of this.lines.values()) this.candles.removePriceLine(line.line);
    this.lines.clear();
    this.note.textContent = "loading candles";
    const answer = await fetch(`/api/candles/${encodeURIComponent(symbol)}`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (symbol !== this.symbol) return;
    if (!answer || !answer.ok) {
      this.note.textContent = "candles cannot be read now";
      setTimeout(() => symbol === this.symbol && !this.newest && this.load(symbol), 5000);
      return;
    }
    const { candles } = await answer.json();
    if (symbol !== this.symbol) return;
    this.note.textContent = candles.length ? "" : "waiting for bars of this instrument";
    this.candles.setData(candles.map((row) => this.candle(row)));
    this.volume.setData(candles.map((row) => this.bar(row)));
    this.newest = candles.length ? candles[candles.length - 1][0] : 0;
    const count = Math.min(candles.length, window.innerWidth < 700 ? 60 : 150);
    if (count) this.chart.timeScale().setVisibleLogicalRange({ from: candles.length - count, to: candles.length + 3 });
    this.levels();
  }

  candle([t, open, high, low, close]) {
    return { time: t, open, high, low, close };
  }

  bar([t, open, , , close, value]) {
    return { time: t, value, color: (close >= open ? css("--up") : css("--down")) + "55" };
  }

  update(changed) {
    const touched = (part) => changed === null || changed.some((path) => path.startsWith(`@${this.symbol}.${part}`));
    if (touched("minutes")) {
      for (const row of this.board.own("minutes") || []) {
        if (row[0] < this.newest) continue;
        this.candles.update(this.candle(row));
        this.volume.update(this.bar(row));
        this.newest = row[0];
        this.note.textContent = "";
      }
    }
    if (touched("metric.gex")) this.levels();
  }

  levels() {
    const gex = this.board.own("metric.gex");
    const parts = gex && gex.ready ? gex.parts : {};
    for (const [name, title, colour] of LEVELS) {
      const price = parts[name];
      const known = this.lines.get(name);
      if (known && known.price === price) continue;
      if (known) {
        this.candles.removePriceLine(known.line);
        this.lines.delete(name);
      }
      if (typeof price !== "number") continue;
      const line = this.candles.createPriceLine({ price, title, color: css(colour), lineStyle: 2, lineWidth: 1, axisLabelVisible: true });
      this.lines.set(name, { price, line });
    }
  }
}
