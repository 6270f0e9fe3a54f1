// What the server said, by path, and the connection that brings it. An update is acknowledged once it is drawn.

export class Board {
  constructor() {
    this.values = new Map();
    this.symbol = null;
    this.link = { up: false, text: "connecting" };
    this.onchange = () => {};
    this.clockAt = null;
  }

  get(path) {
    return this.values.get(path);
  }

  own(path) {
    return this.values.get(`@${this.symbol}.${path}`);
  }

  // [name, value] of a group such as `quote.`, in the order they came.
  group(prefix) {
    const found = [];
    for (const [path, value] of this.values) if (path.startsWith(prefix)) found.push([path.slice(prefix.length), value]);
    return found;
  }

  // Whether what the state server said may be old: it is away, or we are.
  lost() {
    const state = this.get("link.state");
    return !this.link.up || Boolean(state && !state.up);
  }

  // Both clocks now, in milliseconds, carried on from the server's last word; null while unknown.
  now() {
    const clock = this.get("clock");
    if (!clock || this.clockAt === null) return null;
    const passed = performance.now() - this.clockAt;
    return { machine: clock.machine_ms + passed, market: clock.market_ms + passed * clock.speed, speed: clock.speed };
  }

  connect() {
    this.socket = io({ transports: ["websocket"], reconnectionDelay: 300, reconnectionDelayMax: 3000 });
    this.socket.on("connect", () => {
      this.say(true, "live");
      if (this.symbol) this.socket.emit("choose", this.symbol);
    });
    this.socket.on("disconnect", () => this.say(false, "not connected: what you see is old"));
    this.socket.on("connect_error", (error) => this.refused(error));
    this.socket.on("update", (message, acknowledge) => {
      this.take(message);
      acknowledge();
    });
  }

  async refused(error) {
    this.say(false, `not connected (${error.message}): what you see is old`);
    const answer = await fetch("/api/snapshot", { headers: { Accept: "application/json" } }).catch(() => null);
    if (answer && answer.status === 401) window.location.assign("/login");
  }

  take({ whole, symbol, values }) {
    if (symbol !== this.symbol) return;
    if (whole) this.values.clear();
    for (const [path, value] of Object.entries(values)) {
      if (value === null) this.values.delete(path);
      else this.values.set(path, value);
    }
    if ("clock" in values) this.clockAt = performance.now();
    this.onchange(whole ? null : Object.keys(values));
  }

  choose(symbol) {
    this.symbol = symbol;
    for (const path of [...this.values.keys()]) if (path.startsWith("@")) this.values.delete(path);
    if (this.socket && this.socket.connected) this.socket.emit("choose", symbol);
    this.onchange(null);
  }

  say(up, text) {
    this.link = { up, text };
    this.onchange(["link"]);
  }
}
