// HALT in one click; RESUME and FLATTEN ask first. Each goes by plain HTTP, so none waits for the live connection.

const token = () => document.querySelector('meta[name="csrf-token"]').content;

async function post(path, fields = {}) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "X-CSRFToken": token(), Accept: "application/json" },
      body: new URLSearchParams(fields),
    });
    const content = await answer.json().catch(() => ({}));
    if (answer.status === 401) content.error = "You are signed out: sign in, or use `alphatrader halt` in a terminal.";
    return { ok: answer.ok, ...content, error: answer.ok ? null : content.error || `refused (${answer.status})` };
  } catch (error) {
    return { ok: false, error: `The dashboard does not answer (${error.message}). Use \`alphatrader halt\` in a terminal.` };
  }
}

const get = (id) => document.getElementById(id);

function banner(text, kind) {
  const node = get("banner");
  node.textContent = text;
  node.dataset.own = ""; // the header, which tells of lost servers, leaves it alone
  node.className = `banner ${kind}`;
  node.hidden = !text;
}

// Until `global:halt` says so, a request is only a request.
async function confirmed(board, wanted, text) {
  const until = performance.now() + 5000;
  while (performance.now() < until) {
    const halt = board.get("halt");
    if (halt && halt.known && wanted(halt)) return banner("", "");
    await new Promise((done) => setTimeout(done, 100));
  }
  banner(text, "bad");
}

function ask({ title, text, yes, run, password }) {
  const dialog = get("ask");
  get("ask-title").textContent = title;
  get("ask-text").textContent = text;
  get("ask-yes").textContent = yes;
  get("ask-password-row").hidden = !password;
  get("ask-password").value = "";
  get("ask-error").hidden = true;
  get("ask-no").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const error = await run();
    if (!error) return dialog.close();
    get("ask-error").textContent = error;
    get("ask-error").hidden = false;
  };
  if (!dialog.open) dialog.showModal();
}

export function bindControls(board) {
  get("halt-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    banner("Halt asked for …", "warn");
    const answer = await post("/control/halt", { reason: "HALT button" });
    if (!answer.ok) return banner(`HALT WAS NOT WRITTEN. ${answer.error}`, "bad");
    await confirmed(board, (halt) => halt.halted, "The halt was asked for, but emergency has not recorded it within 5 s. Risk and execution obey the request itself; look at their lines below.");
  });

  async function resume() {
    const answer = await post("/control/resume", { reason: "Resume button" });
    if (answer.needs === "password") {
      askResume(true);
      return "Clearing a halt needs your password again.";
    }
    if (!answer.ok) return answer.error;
    confirmed(board, (halt) => !halt.halted, "Resuming was asked for, but the halt stands: see its reason, and the limits below.");
    return null;
  }

  function askResume(password) {
    const halt = board.get("halt");
    ask({
      title: "Allow opening positions again?",
      text: halt && halt.halted ? `Halted: ${halt.reason || "no reason given"}${halt.by ? ` (by ${halt.by})` : ""}.` : "The system does not seem to be halted.",
      yes: "Resume trading",
      password,
      run: async () => {
        if (password) {
          const again = await post("/login/again", { password: get("ask-password").value });
          if (!again.ok) return again.error;
        }
        return resume();
      },
    });
    if (password) get("ask-password").focus();
  }

  get("resume").addEventListener("click", () => askResume(false));
  get("flatten").addEventListener("click", () => {
    const open = board.group("position.").length;
    ask({
      title: "Flatten everything?",
      text: `Halts, cancels every order and closes every position at the broker (${open} shown here).`,
      yes: "Flatten now",
      password: false,
      run: async () => {
        const answer = await post("/control/flatten", { reason: "Flatten button" });
        if (!answer.ok) return answer.error;
        const before = (board.get("halt") || {}).epoch || 0;
        confirmed(board, (halt) => halt.flatten || (halt.halted && halt.epoch > before), "Flattening was asked for, but emergency has not begun within 5 s. Use `alphatrader flatten` in a terminal.");
        return null;
      },
    });
  });
  get("theme").addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    // What the system has is followed again, as before anything was chosen.
    if (matchMedia(`(prefers-color-scheme: ${next})`).matches) localStorage.removeItem("theme");
    else localStorage.setItem("theme", next);
    window.dispatchEvent(new Event("themechange"));
  });
}
