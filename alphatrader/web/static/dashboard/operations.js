// Deliveries and queues, module health, the morning note, the log.

import { DASH, Folds, el, number, seconds, table, time, waiting } from "./format.js";

const get = (id) => document.getElementById(id);

export function operationPanels(board) {
  return [
    { needs: ["queues", "deliveries"], draw: () => deliveries(board), tick: () => queues(board) },
    { needs: ["module", "alerts", "discovery", "link"], draw: () => modules(board), tick: () => beats(board) },
    { needs: ["note"], draw: () => note(board) },
    { needs: ["log."], draw: () => log(board) },
  ];
}

function queues(board) {
  const found = board.get("queues");
  if (!found) return get("queues").replaceChildren(waiting("waiting for the queues"));
  const now = board.now();
  const names = ["premium", "basic", "free", "telegram notes"];
  const telegram = Object.entries(found).filter(([name]) => !names.includes(name));
  const next = telegram.map(([, q]) => q.next_ms).filter((ms) => ms !== null);
  const lines = [...names.map((name) => [name, found[name]]), ["telegram signals", { length: telegram.reduce((sum, [, q]) => sum + q.length, 0), next_ms: next.length ? Math.min(...next) : null }]];
  const rows = lines.filter(([, q]) => q).map(([name, q]) => {
    const left = now && q.next_ms !== null ? (q.next_ms - now.market) / 1000 : null;
    return [name, number(q.length, 0), left === null ? "empty" : left >= 0 ? `due in ${seconds(left)}` : [`LATE by ${seconds(-left)}`, left < -20 ? "bad" : "warn"]];
  });
  get("queues").replaceChildren(table([["Queue"], ["Waiting", "n"], ["Next", "n"]], rows, "Delivery queues"));
}

function deliveries(board) {
  queues(board);
  const found = board.get("deliveries");
  if (!found) return get("deliveries").replaceChildren(waiting("waiting for the delivery ledger"));
  get("deliveries-note").textContent = found.unknown ? `${found.unknown} UNKNOWN: the vendor's answer was lost; nothing is resent` : "";
  get("deliveries-note").className = found.unknown ? "bad" : "muted";
  const channels = Object.entries(found.channels).map(([name, s]) => [name, number(s.sent ?? 0, 0), [String(s.unknown ?? 0), s.unknown ? "bad" : "muted"], [String(s.failed ?? 0), s.failed ? "warn" : "muted"], String(s.sending ?? 0), String(s.late ?? 0)]);
  const last = found.last.map((d) => [time(d.at_ms), d.recipient, [d.state, { sent: "up", unknown: "bad", failed: "warn" }[d.state] || ""], d.state === "sent" ? seconds(d.late_ms / 1000) : DASH, [d.reason || "", "text"]]);
  get("deliveries").replaceChildren(
    channels.length ? table([["Channel"], ["Sent", "n"], ["Unknown", "n"], ["Failed", "n"], ["Sending", "n"], ["Late", "n"]], channels, "Deliveries by channel") : waiting("Nothing has been delivered yet."),
    ...(last.length ? [el("h3", { text: "Newest" }), table([["At, ET"], ["To"], ["State"], ["After due", "n"], ["Reason", "wide"]], last, "Newest deliveries")] : []),
  );
}

const SIGNS = { ready: ["●", "up"], degraded: ["▲", "warn"], waiting: ["…", "warn"], starting: ["…", "warn"], stopping: ["…", "warn"], down: ["■", "bad"], unknown: ["?", "muted"], off: ["○", "muted"] };

function facts(m) {
  const shown = Object.entries({ ...m.facts, ...m.counts });
  return shown.map(([name, value]) => `${name.replaceAll("_", " ")} ${typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : value}`).join(" · ");
}

const told = new Folds(get("alerts"));

// A cause, and folded under it what it brings.
function alert({ name, text, brings }) {
  if (!brings.length) return el("p", { class: "told", text: `▲ ${text}` });
  return { key: name, open: false, summary: [`▲ ${text} (${brings.length} more with it)`], body: [el("ul", {}, ...brings.map((brought) => el("li", { text: brought })))] };
}

function modules(board) {
  const found = board.group("module.").sort((a, b) => a[1].order - b[1].order);
  const alerts = [...(board.get("alerts") || []), ...(board.get("discovery") || []).map((text) => ({ name: text, text, brings: [] }))];
  told.draw(alerts.map(alert));
  if (!found.length) return get("modules").replaceChildren(waiting("waiting for the modules' heartbeats"));
  const unknown = board.get("modules_unknown");
  const wrong = found.filter(([, m]) => ["down", "degraded", "waiting"].includes(m.state)).length;
  get("modules-note").textContent = unknown ? `as before: ${unknown}` : wrong ? `${wrong} of ${found.length} not well` : `all ${found.length} well`;
  get("modules-note").className = unknown || wrong ? "warn" : "muted";
  const rows = found.map(([name, m]) => {
    const [sign, kind] = SIGNS[m.state] || ["?", "muted"];
    const beat = el("span", { "data-beat": m.beat_ms ?? null, text: DASH });
    return { hover: `${m.about}. ${facts(m)}`, cells: [el("b", { text: name }), [`${sign} ${m.state}`, kind], beat, el("span", { class: `clamp ${m.reason ? (kind === "up" ? "" : kind) : "muted"}`, text: m.reason || facts(m) })] };
  });
  writers(board, new Map(found));
  get("modules").replaceChildren(table([["Module"], ["State"], ["Beat", "n"], ["What it says", "text wide"]], rows, "Modules"));
  beats(board);
}

// Beside the titles: who writes what a panel shows is down, or nobody can be heard, so it stands there as it was.
function writers(board, found) {
  for (const node of document.querySelectorAll("[data-writer]")) {
    const name = node.dataset.writer;
    if (board.lost()) node.textContent = "nothing is heard: this is as it was";
    else node.textContent = found.has(name) && found.get(name).state === "down" ? `${name} is down: this is as it was` : "";
  }
}

function beats(board) {
  const now = board.now();
  if (!now) return;
  for (const node of document.querySelectorAll("[data-beat]")) {
    const age = (now.machine - Number(node.dataset.beat)) / 1000;
    node.textContent = seconds(age);
    node.className = age > 8 ? "bad" : "";
  }
}

function note(board) {
  const found = board.get("note");
  const place = get("note");
  if (!found || !found.known) return place.replaceChildren(waiting("No morning note of this session yet: it is written at 08:00 ET."));
  const source = found.source === "template" ? "written from a template, without the model" : "written by the model from the facts below";
  const facts = Object.entries(found.facts);
  place.replaceChildren(
    el("h3", { text: found.title }),
    el("p", { class: "muted", text: `${found.session}, ${time(found.at_ms)} ET, ${source}` }),
    el("p", { class: "prose", text: found.text }),
    ...(facts.length ? [el("details", {}, el("summary", { text: `${facts.length} facts` }), el("dl", { class: "parts" }, ...facts.flatMap(([k, v]) => [el("dt", { text: k }), el("dd", { text: v })])))] : []),
  );
}

function log(board) {
  const lines = board.group("log.").sort((a, b) => Number(b[0]) - Number(a[0]));
  if (!lines.length) return get("log").replaceChildren(el("li", { class: "waiting", text: "Nothing has happened yet." }));
  const kinds = { good: "up", warn: "warn", bad: "bad" };
  get("log").replaceChildren(...lines.map(([, line]) => el("li", {}, el("time", { class: "muted", text: time(line.at_ms) }), el("span", { class: "tag", text: line.kind }), el("span", { class: `clamp ${kinds[line.level] || ""}`, title: line.text, text: line.text }))));
}
