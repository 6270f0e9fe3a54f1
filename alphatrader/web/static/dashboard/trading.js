// Positions with their moving result, closed trades, signals, orders, and the limits.

import { DASH, arrow, direction, el, money, number, seconds, signedMoney, table, time, waiting } from "./format.js";

const get = (id) => document.getElementById(id);
const result = (value) => [value === null ? DASH : `${arrow(value)} ${signedMoney(value)}`.trim(), direction(value)];

export function tradingPanels(board) {
  return [
    { needs: ["position.", "summary"], draw: () => positions(board) },
    { needs: ["trade."], draw: () => trades(board) },
    { needs: ["signal.", "standing", "expected"], draw: () => signals(board) },
    { needs: ["order."], draw: () => orders(board), tick: () => unconfirmed(board) },
    { needs: ["risk", "measure.", "summary"], draw: () => risk(board) },
  ];
}

function positions(board) {
  const held = board.group("position.").map(([, p]) => p).sort((a, b) => a.opened_ms - b.opened_ms);
  const summary = board.get("summary");
  get("positions-note").textContent = !summary ? "" : !summary.known ? "waiting for the positions module" : summary.reconciled ? "equal to the broker's" : `DIFFERS from the broker: ${summary.differences.join("; ")}`;
  get("positions-note").className = summary && summary.known && !summary.reconciled ? "bad" : "muted";
  if (!held.length) return get("positions").replaceChildren(waiting(summary && summary.known ? "No open position." : "waiting for positions"));
  const rows = held.map((p) => ({
    hover: `${p.strategy}, opened ${time(p.opened_ms)} ET, commissions ${money(p.commissions)}`,
    cells: [
      el("span", {}, el("b", { text: p.contract }), el("small", { class: "muted", text: ` ${p.strategy}${p.status === "open" ? "" : ` · ${p.status}`}` })),
      result(p.unrealized),
      [p.mark === null ? "no quote" : number(p.mark), p.mark === null || p.mark_age_ms > 5000 ? "warn" : "", p.mark_age_ms === null ? "" : `quote ${seconds(p.mark_age_ms / 1000)} old`],
      `${p.quantity}/${p.opened_quantity}`,
      number(p.average),
      [p.stop === null ? "NO STOP" : number(p.stop), p.stop === null ? "bad" : ""],
      result(p.realized),
      p.targets.map((target, i) => (i < p.targets_hit ? `✓${number(target)}` : number(target))).join(" · ") || DASH,
    ],
  }));
  const total = summary && summary.known ? { class: "total", cells: ["Total", result(summary.unrealized), "", "", "", "", "", ""] } : null;
  get("positions").replaceChildren(table([["Contract"], ["Unrealized", "n"], ["Mark", "n"], ["Held", "n"], ["Average", "n"], ["Stop", "n"], ["Realized", "n"], ["Targets", "n"]], total ? [...rows, total] : rows, "Open positions"));
}

function trades(board) {
  const closed = board.group("trade.").map(([, t]) => t).sort((a, b) => b.closed_ms - a.closed_ms);
  if (!closed.length) return get("trades").replaceChildren(waiting("No trade has closed in this session."));
  const rows = closed.map((t) => [time(t.closed_ms), t.contract, String(t.quantity), number(t.entry), t.exit === null ? "unseen" : number(t.exit), result(t.pnl), [t.reason, "text"]]);
  get("trades").replaceChildren(table([["Closed, ET"], ["Contract"], ["Qty", "n"], ["Entry", "n"], ["Exit", "n"], ["Result", "n"], ["Why", "wide"]], rows, "Closed trades"));
}

const STATES = { pending: "… pending", active: "● active", approved: "✓ approved", refused: "✕ refused", expired: "expired", withdrawn: "withdrawn" };

function signals(board) {
  const standing = board.get("standing") || {};
  const found = board.group("signal.").map(([id, s]) => ({ ...s, state: standing[id] && s.state === "pending" ? standing[id] : s.state, stands: id in standing }));
  found.sort((a, b) => b.at_ms - a.at_ms);
  const now = Object.values(standing);
  get("signals-note").textContent = `${now.filter((s) => s === "pending").length} pending, ${now.filter((s) => s === "active").length} active`;
  get("expected").textContent = board.get("expected") || "";
  if (!found.length) return get("signals").replaceChildren(waiting("No signal yet: `Why no signal` tells the gate that stops each symbol."));
  get("signals").replaceChildren(...found.map((s) =>
    el(
      "article",
      { class: `signal ${s.stands ? "stands" : ""}` },
      el("header", {}, el("b", { text: s.contract }), el("span", { class: `tag ${s.direction === "long call" ? "up" : "down"}`, text: `${s.direction === "long call" ? "▲" : "▼"} ${s.direction}` }), el("span", { class: "tag", text: s.strategy }), el("time", { class: "muted", text: time(s.at_ms) })),
      el("div", { class: "numbers" }, ...[["confidence", `${number(s.confidence, 0)}${s.calibrated ? "" : " uncal."}`], ["qty", String(s.quantity)], ["entry", number(s.entry)], ["stop", number(s.stop)], ["targets", s.targets.map((t) => number(t)).join(" · ")]].map(([name, value]) => el("span", {}, el("small", { class: "muted", text: name }), " ", value))),
      el("p", { class: "muted clip", title: s.reasons.join("; "), text: s.reasons.join("; ") }),
      el("p", { class: `state clamp ${{ approved: "up", active: "up", refused: "warn" }[s.state] || "muted"}`, title: s.state_reason, text: `${STATES[s.state] || s.state}${s.state_reason ? `: ${s.state_reason}` : ""}` }),
    ),
  ));
}

function orders(board) {
  const found = board.group("order.").map(([, o]) => o).sort((a, b) => Number(b.open) - Number(a.open) || b.updated_ms - a.updated_ms);
  const open = found.filter((order) => order.open);
  const unknown = open.filter((order) => order.state === "UNKNOWN").length;
  get("orders-note").textContent = found.length ? `${open.length} open${unknown ? `, ${unknown} UNKNOWN` : ""}` : "";
  get("orders-note").className = unknown ? "bad" : "muted";
  if (!found.length) return get("orders").replaceChildren(waiting("No order has been written."));
  const kinds = { WORKING: "accent", FILLED: "up", REJECTED: "bad", UNKNOWN: "bad", SENT: "warn", INTENT: "warn" };
  const rows = found.map((o) => ({
    class: o.open ? "" : "done",
    hover: o.reason,
    cells: [time(o.updated_ms), el("span", {}, el("b", { class: o.side === "BUY" ? "up" : "down", text: o.side }), ` ${o.contract}`, el("small", { class: "muted", text: ` ${o.role}` })), `${o.filled}/${o.quantity}`, o.type, number(o.limit ?? o.stop), number(o.average), [o.state, kinds[o.state] || "muted"]],
  }));
  get("orders").replaceChildren(table([["Time, ET"], ["Order"], ["Filled", "n"], ["Type"], ["Price", "n"], ["Average", "n"], ["State"]], rows, "Orders"));
}

function unconfirmed(board) {
  const now = board.now();
  const node = get("orders-note");
  if (!now) return;
  const silent = board.group("order.").filter(([, o]) => ["INTENT", "SENT", "UNKNOWN"].includes(o.state) && now.machine - o.machine_ms > 60000).length;
  node.title = silent ? `${silent} without a word from the broker for more than a minute` : "";
}

// A limit in words such as "120.00 of 2000.00": the bar shows the share where both are numbers.
function share(text) {
  const match = /(-?[\d.,]+)[^\d-]+of[^\d-]+(-?[\d.,]+)/.exec(text);
  if (!match) return null;
  const [used, allowed] = [match[1], match[2]].map((part) => Number(part.replaceAll(",", "")));
  return allowed > 0 && Number.isFinite(used) ? Math.min(1, Math.max(0, used / allowed)) : null;
}

function risk(board) {
  const state = board.get("risk");
  const place = get("risk");
  if (!state || !state.known) return place.replaceChildren(waiting("waiting for risk's books"));
  const lines = Object.entries(state.limits).map(([name, text]) => {
    const used = share(text);
    return el("li", {}, el("span", { text: name.replaceAll("_", " ") }), el("span", { class: "n", text }), used === null ? null : el("meter", { min: 0, max: 1, low: 0.6, high: 0.85, optimum: 0, value: used, "aria-label": `${name} used` }));
  });
  const measures = board.group("measure.").map(([name, m]) => el("li", {}, el("span", { text: name === "var" ? "value at risk" : "book correlation" }), el("span", { class: m.value === null ? "muted" : "n", text: m.value === null ? m.reason || "not computed" : name === "var" ? money(m.value) : number(m.value) })));
  place.replaceChildren(
    state.latched ? el("p", { class: "told", text: `Latched for this session: ${state.latched}` }) : null,
    el("ul", { class: "limits" }, ...lines, ...measures),
    el("p", { class: "muted", text: `Opening equity ${money(state.opening_equity, 0)}, peak ${money(state.peak_equity, 0)}; ${state.reservations} places reserved` }),
  );
  for (const node of [...place.childNodes]) if (node.nodeType === 3) node.remove();
}
