// The header: market time, session, halt, lease, link; the banner of what is badly wrong; the strip of key figures.

import { arrow, day, direction, el, money, number, seconds, signedMoney, time } from "./format.js";

const get = (id) => document.getElementById(id);

function chip(id, text, kind, hover) {
  const node = get(id);
  if (node.textContent !== text) node.textContent = text;
  node.className = `chip ${kind}`;
  node.title = hover || "";
}

export function headerPanels(board) {
  return [
    { needs: ["clock", "session"], draw: () => when(board), tick: () => when(board) },
    { needs: ["halt", "lease", "link", "clock"], draw: () => states(board), tick: () => states(board) },
    { needs: ["summary", "risk", "power", "counts", "lease", "position.", "link", "module.positions"], draw: () => strip(board) },
  ];
}

function when(board) {
  const now = board.now();
  get("market-time").textContent = now ? `${time(now.market)} ET` : "--:--:--";
  const session = board.get("session");
  if (!session || !now) return;
  const left = seconds(Math.max(0, (session.until_ms - now.market) / 1000));
  const early = session.early ? " (early close)" : "";
  const text = {
    open: `${day(now.market)} · open, closes ${session.closes}${early} in ${left}`,
    before: `${day(now.market)} · opens ${session.opens} in ${left}`,
    after: `${day(now.market)} · closed at ${session.closes}; next ${session.next_day} ${session.next_opens}`,
    closed: `${day(now.market)} · no session today; next ${session.next_day} ${session.next_opens}`,
  }[session.state];
  get("session").textContent = now.speed === 1 ? text : `${text} · ${now.speed}× speed`;
}

function states(board) {
  const halt = board.get("halt");
  if (!halt) chip("halt-state", "halt unknown", "unknown");
  else if (halt.flatten) chip("halt-state", "■ FLATTENING", "bad", halt.reason);
  else if (halt.halted) chip("halt-state", halt.known ? "■ HALTED" : "■ HALTED (no record)", "bad", `${halt.reason} — ${halt.by || "nobody"}`);
  else chip("halt-state", "● Trading allowed", "good", `epoch ${halt.epoch}, by ${halt.by}`);
  document.body.classList.toggle("halted", Boolean(halt && halt.halted));
  get("resume").disabled = Boolean(halt && halt.known && !halt.halted);
  const lease = board.get("lease");
  if (!lease) chip("lease-state", "lease unknown", "unknown");
  else if (lease.granted) chip("lease-state", "● Lease live", "good", "Risk renews permission to open every second");
  else chip("lease-state", "■ No lease", "bad", lease.reason || "");
  const down = ["state", "data"].filter((name) => board.get(`link.${name}`) && !board.get(`link.${name}`).up);
  if (!board.link.up) chip("link-state", "■ Not connected", "bad", board.link.text);
  else if (down.length) chip("link-state", `■ ${down.join(" and ")} server lost`, "bad");
  else chip("link-state", "● Live", "good");
  document.body.classList.toggle("lost", board.lost() && board.values.size > 0);
  warn(board, down);
}

function warn(board, down) {
  const node = get("banner");
  if (node.dataset.own !== "link" && !node.hidden) return;
  const known = board.now();
  const now = known ? known.machine : Date.now();
  const text = !board.link.up && board.values.size
    ? "Not connected to the dashboard: everything below is as it was. HALT still goes its own way."
    : down.map((name) => `The ${name} server does not answer: ${name === "state" ? "orders, positions and limits" : "quotes and metrics"} below are not of now.`).join(" ");
  // It is an alert: a count of seconds within it would be read aloud twice a second.
  if (node.dataset.own !== "link" || node.dataset.text !== text) node.replaceChildren(text, " ", el("span", { "aria-hidden": "true" }));
  node.dataset.text = text;
  if (text && board.link.up) node.lastChild.textContent = `For ${seconds(Math.max(...down.map((name) => now - board.get(`link.${name}`).since_ms)) / 1000)}.`;
  node.className = "banner bad";
  node.dataset.own = text ? "link" : "";
  node.hidden = !text;
}

function figure(name, value, kind, about) {
  return el("div", { title: about }, el("dt", { text: name }), el("dd", { class: kind, text: value }));
}

function result(name, value, about) {
  return figure(name, value === null || value === undefined ? "—" : `${arrow(value)} ${signedMoney(value)}`.trim(), direction(value), about);
}

function strip(board) {
  const summary = board.get("summary") || { known: false };
  const risk = board.get("risk") || { known: false };
  const power = board.get("power") || { value: null };
  const counts = board.get("counts") || {};
  const total = summary.known && summary.unrealized !== null ? summary.realized + summary.unrealized : null;
  const session = board.get("session");
  const made = counts.made && session && counts.made.session === session.day ? counts.made.count : null;
  const told = counts.told && session && counts.told.session === session.day ? counts.told.count : null;
  const writer = board.get("module.positions");
  const when = board.lost() || (writer && writer.state === "down" && summary.known) ? ", as it was" : "";
  const other = board.lost() ? ", as it was" : "";
  get("strip").replaceChildren(
    result(`Day${when}`, total, "Realized and unrealized of this session"),
    result(`Realized${when}`, summary.known ? summary.realized : null),
    result(`Unrealized${when}`, summary.known ? summary.unrealized : null, "Unknown while a held contract has no fresh quote"),
    figure(`Open positions${when}`, summary.known ? String(summary.open) : "—", summary.known && !summary.reconciled ? "warn" : "", summary.known ? (summary.reconciled ? "Equal to the broker's" : summary.differences.join("; ")) : "waiting for positions"),
    figure(`Equity${other}`, risk.known ? money(risk.equity, 0) : "—"),
    figure(`Buying power${other}`, money(power.value, 0), "", "As the broker states it"),
    figure(`Losses in a row${other}`, risk.known ? String(risk.consecutive_losses) : "—"),
    figure("Signals made", made === null ? "—" : number(made, 0), "", "In this session"),
    figure("Signals told", told === null ? "—" : number(told, 0), "", "Distributed in this session"),
  );
}
