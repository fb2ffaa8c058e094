"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const content = read("content");
  const pictures = read("pictures");
  const { questions, rows } = content;
  const byId = (id) => document.getElementById(id);
  const figure = (n) => n.toLocaleString("en");
  const NAMES = { match: "match", nomatch: "no match", unknown: "unknown" };
  const FACTS = { viewpoint: "viewpoint", timestamp: "taken", location_id: "at", encounter_id: "encounter", identity: "labelled" };

  // ---- what is kept in the browser ------------------------------------------------------------
  const KEY = `reid-review:${content.key}`, REVIEWER = "reid-review:reviewer";
  const keys = questions.map(({ a, b }) => `${rows.id[a.row]}\n${rows.id[b.row]}`);
  let keeps = true; // a browser may refuse to keep anything for a file
  let state = { decisions: {}, notes: {}, steps: [] };
  let downloaded = true;
  let current = 0;

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY));
      if (kept) state = kept;
      byId("reviewer").value = localStorage.getItem(REVIEWER) || "";
    } catch {
      keeps = false;
    }
  }
  function keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify(state));
      localStorage.setItem(REVIEWER, byId("reviewer").value);
    } catch {
      keeps = false;
    }
    if (!keeps) warn("This browser does not keep anything for this page: download the decisions before you close it.");
  }
  const decisionOf = (place) => state.decisions[keys[place]] || null;
  const reviewer = () => byId("reviewer").value.trim();
  // A page with other pairs of the same catalogue may share what is kept.
  const mySteps = () => state.steps.filter(([key]) => keys.includes(key));
  const decidedPlaces = () => questions.map((_, place) => place).filter(decisionOf);

  function warn(text) {
    byId("warning").textContent = text;
    byId("warning").hidden = !text;
  }

  // ---- drawing --------------------------------------------------------------------------------
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }
  const images = (count) => (count === 1 ? "1 image" : `${figure(count)} images`);

  function picture(row, what) {
    const number = rows.picture[row];
    const words = `${what}: ${rows.path[row]}`;
    if (number < 0) return make("span", { class: "blank", role: "img", "aria-label": `No picture of ${words}` }, "no picture");
    return make("img", { src: `data:${content.mime};base64,${pictures[number]}`, alt: words, decoding: "async" });
  }
  function drawSide(name) {
    const question = questions[current], side = question[name], other = question[name === "a" ? "b" : "a"];
    const facts = Object.entries(FACTS).filter(([fact]) => rows.facts[side.row][fact]).map(([fact, word]) => `${word} ${rows.facts[side.row][fact]}`);
    const strip = side.others.map((row) => make("li", {}, make("button", { type: "button", "aria-label": `Enlarge ${rows.path[row]}, of ${side.identity}`, title: rows.path[row], onclick: () => enlarge([row]) }, picture(row, side.identity))));
    const one = side.identity === other.identity;
    byId(`side-${name}`).replaceChildren(
      make("button", { type: "button", class: "large", "aria-label": `Enlarge the ${name === "a" ? "first" : "second"} image, of ${side.identity}`, onclick: () => enlarge([side.row, other.row]) }, picture(side.row, side.identity), make("span", { class: "badge", "aria-hidden": "true" }, side.identity)),
      make("h3", {}, `${side.identity} · ${images(side.images)}`),
      make("span", { class: "path" }, rows.path[side.row]),
      make("p", { class: "more" }, facts.join(" · ")),
      ...(strip.length ? [
        make("p", { class: "strip-title" }, one ? `Images of ${side.identity} that hang together with this one` : `Other images of ${side.identity}`),
        make("ul", { class: "strip" }, ...strip),
      ] : [make("p", { class: "strip-title" }, one ? "Nothing else hangs together with this one" : "No other image")]),
    );
  }
  function draw() {
    const question = questions[current], decision = decisionOf(current), done = decidedPlaces().length;
    byId("title").textContent = `${current + 1} of ${figure(questions.length)} · ${question.title}`;
    byId("why").textContent = question.why;
    byId("probability-of").textContent = question.whose_likeness;
    byId("probability").textContent = question.likeness;
    byId("distance").textContent = question.distance.toFixed(3);
    byId("decided").textContent = decision ? `${NAMES[decision.decision]}${decision.reviewer ? `, by ${decision.reviewer}` : ""}` : "none yet";
    document.querySelectorAll("[data-effect]").forEach((place) => {
      place.textContent = question[place.dataset.effect] || "changes nothing, and is not asked again";
    });
    byId("note").value = state.notes[keys[current]] || "";
    drawSide("a");
    drawSide("b");
    drawEvidence();
    document.querySelectorAll("[data-decision]").forEach((button) => {
      button.setAttribute("aria-pressed", String(decision !== null && decision.decision === button.dataset.decision));
    });
    byId("back").disabled = current === 0;
    byId("next").disabled = current === questions.length - 1;
    byId("undo").disabled = !mySteps().length;
    byId("forget").disabled = !done;
    byId("progress").value = done;
    byId("counter").textContent = `${figure(done)} of ${figure(questions.length)} decided${done === questions.length ? ": download the file" : ""}`;
    byId("download").disabled = !done;
  }
  // The points that both pictures share, where somebody looked at the pair closely.
  let pointsShown = true;
  function drawEvidence() {
    if (!byId("matches")) return;
    const { evidence } = questions[current];
    byId("matches").hidden = !evidence;
    byId("points").setAttribute("aria-pressed", String(pointsShown));
    if (evidence) byId("evidence").replaceChildren(...matchedPoints.words(evidence));
    const large = ["a", "b"].map((name) => document.querySelector(`#side-${name} .large img`));
    matchedPoints.show(byId("sides"), large, evidence && pointsShown ? evidence.points : null);
  }
  function say(text) {
    byId("status").textContent = text;
  }
  const where = () => `${byId("title").textContent} ${byId("why").textContent}`;

  // ---- moving and deciding --------------------------------------------------------------------
  // Both pictures are to be seen with what is said about them, wherever the page was scrolled to.
  function show() {
    draw();
    byId("pair").scrollIntoView({ block: "start", behavior: "instant" });
  }
  function go(place) {
    if (place < 0 || place >= questions.length) return;
    current = place;
    show();
    say(where());
  }
  // The nearest pair without a decision, after this one if there is any.
  function nextOpen() {
    const open = questions.map((_, place) => place).filter((place) => !decisionOf(place));
    const after = open.find((place) => place > current);
    return after === undefined ? (open.length ? open[0] : current) : after;
  }
  function decide(decision) {
    const key = keys[current];
    state.steps.push([key, state.decisions[key] || null]);
    state.decisions[key] = { decision, reviewer: reviewer(), timestamp: new Date().toISOString() };
    downloaded = false;
    keep();
    const made = `${NAMES[decision]}. `;
    current = nextOpen();
    show();
    if (decidedPlaces().length === questions.length) say(`${made}All ${figure(questions.length)} pairs are decided: download the file.`);
    else say(made + where());
  }
  function undo() {
    const step = mySteps().pop();
    if (!step) return;
    const [key, before] = step;
    state.steps.splice(state.steps.lastIndexOf(step), 1);
    if (before) state.decisions[key] = before;
    else delete state.decisions[key];
    downloaded = false;
    keep();
    current = keys.indexOf(key);
    show();
    say(`Undone. ${where()}`);
  }

  // ---- the file -------------------------------------------------------------------------------
  // As reid/spreadsheet.py guards its cells: no spreadsheet shall run what somebody called an animal.
  const guard = (text) => (content.guard && /^'*[=+\-@\t\r\n]/.test(text) ? `'${text}` : text);
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  function csv() {
    const lines = decidedPlaces().map((place) => {
      const { a, b } = questions[place];
      const { decision, reviewer: who, timestamp } = decisionOf(place);
      const line = { a_id: rows.id[a.row], b_id: rows.id[b.row], decision, reviewer: who || reviewer(), timestamp, note: state.notes[keys[place]] || "" };
      return content.columns.map((column) => cell(guard(line[column]))).join(",");
    });
    return [content.columns.join(","), ...lines, ""].join("\n");
  }
  function download() {
    const nameless = decidedPlaces().some((place) => !decisionOf(place).reviewer);
    const missing = nameless && !reviewer();
    byId("reviewer").setAttribute("aria-invalid", String(missing));
    if (missing) {
      warn("Please type your name first: it goes into the file with each decision.");
      byId("reviewer").focus();
      return;
    }
    warn("");
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: url, download: "constraints.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    downloaded = true;
    say(`${figure(decidedPlaces().length)} decisions downloaded as constraints.csv.`);
  }

  // ---- one picture, as large as the window ------------------------------------------------------
  const zoom = byId("zoom");
  let enlarged = [];
  function enlarge(shown) {
    enlarged = shown;
    byId("zoom-title").textContent = rows.path[shown[0]];
    byId("zoom-picture").replaceChildren(picture(shown[0], "Enlarged"));
    byId("flip").hidden = shown.length < 2;
    if (!zoom.open) zoom.showModal();
  }
  const flip = () => { if (enlarged.length > 1) enlarge([...enlarged].reverse()); };
  byId("flip").addEventListener("click", flip);
  byId("close").addEventListener("click", () => zoom.close());
  zoom.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") flip();
  });

  // ---- buttons and keys -------------------------------------------------------------------------
  const back = () => go(current - 1), next = () => go(current + 1);
  const togglePoints = () => { pointsShown = !pointsShown; drawEvidence(); };
  byId("points")?.addEventListener("click", togglePoints);
  const ON_KEY = { p: togglePoints, m: () => decide("match"), n: () => decide("nomatch"), u: () => decide("unknown"), z: undo, j: next, ArrowRight: next, k: back, ArrowLeft: back };
  document.querySelectorAll("[data-decision]").forEach((button) => button.addEventListener("click", () => decide(button.dataset.decision)));
  for (const [id, action] of Object.entries({ back, next, undo, download })) byId(id).addEventListener("click", action);
  byId("forget").addEventListener("click", () => {
    if (!confirm("Forget all decisions and notes on this page?")) return;
    for (const key of keys) {
      delete state.decisions[key];
      delete state.notes[key];
    }
    state.steps = state.steps.filter(([key]) => !keys.includes(key));
    downloaded = true;
    keep();
    go(0);
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input");
    if (typing && event.key === "Enter") typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || zoom.open) return;
    const action = ON_KEY[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  byId("reviewer").addEventListener("input", () => {
    byId("reviewer").removeAttribute("aria-invalid");
    warn("");
    keep();
  });
  byId("note").addEventListener("input", () => {
    state.notes[keys[current]] = byId("note").value;
    downloaded = false;
    keep();
  });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });
  // Another tab with the same page.
  addEventListener("storage", () => { recall(); draw(); });
  addEventListener("beforeunload", (event) => { if (!keeps && !downloaded) event.preventDefault(); });

  recall();
  current = decisionOf(0) ? nextOpen() : 0;
  draw();
})();
