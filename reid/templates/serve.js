"use strict";
// Decisions go to the server that this page came from; what comes back is text, never HTML.
(() => {
  const byId = (id) => document.getElementById(id);
  const bar = byId("bar"), { base, token, version } = bar.dataset;
  const WHO = "reid-serve:reviewer", FLASH = "reid-serve:flash";
  const dialog = byId("viewer");

  // ---- who, and what was said last --------------------------------------------------------------
  const recall = (store, key) => { try { return store.getItem(key) || ""; } catch { return ""; } };
  const keep = (store, key, value) => { try { store.setItem(key, value); } catch { /* this browser keeps nothing */ } };
  const name = byId("reviewer");
  name.value = recall(localStorage, WHO);
  name.addEventListener("input", () => { keep(localStorage, WHO, name.value); name.removeAttribute("aria-invalid"); });
  function flash(text, wrong) {
    const places = [byId("flash"), byId("viewer-flash")].filter(Boolean);
    for (const place of places) {
      place.textContent = text;
      place.hidden = !text;
      place.classList.toggle("wrong", Boolean(wrong));
    }
  }
  flash(recall(sessionStorage, FLASH));
  keep(sessionStorage, FLASH, "");

  // ---- acts -------------------------------------------------------------------------------------
  let busy = false;
  async function act(kind, fields, to) {
    if (busy) return;
    if (kind !== "undo" && !name.value.trim()) {
      if (dialog && dialog.open) dialog.close();
      name.setAttribute("aria-invalid", "true");
      name.focus();
      flash("Say who you are first: your name goes with each decision.", true);
      return;
    }
    busy = true;
    document.body.classList.add("busy");
    const form = new FormData();
    form.append("reviewer", name.value.trim());
    for (const [field, value] of fields) form.append(field, value);
    let answer;
    try {
      const reply = await fetch(`${base}/act/${kind}`, { method: "POST", body: form, headers: { "X-Reid-Token": token } });
      answer = await reply.json();
    } catch {
      answer = { ok: false, says: "The server does not answer; nothing is known to have been decided." };
    }
    busy = false;
    document.body.classList.remove("busy");
    if (!answer.ok) {
      flash(answer.says, true);
      return;
    }
    keep(sessionStorage, FLASH, answer.says);
    const target = to || answer.to || location.href;
    keep(sessionStorage, "reid-serve:scroll", String(scrollY));
    if (target === location.pathname + location.search || target === location.href) location.reload();
    else location.assign(target);
  }

  // ---- the chosen pictures ------------------------------------------------------------------------
  const boxes = [...document.querySelectorAll("input[name=chosen]")];
  const chosen = () => boxes.filter((box) => box.checked).map((box) => box.value);
  const all = boxes.map((box) => box.value);
  function drawChosen() {
    for (const box of boxes) box.closest(".shot").classList.toggle("chosen", box.checked);
    const n = chosen().length;
    if (byId("tools")) byId("tools").hidden = !n;
    if (n) byId("chosen-count").textContent = `${n} of ${all.length} chosen`;
  }
  for (const box of boxes) box.addEventListener("change", drawChosen);
  // Where the page goes on: a picture that stays, so that one sees what was left.
  function withChosen(kind, fields, ids = chosen()) {
    if (!ids.length) return;
    const left = all.find((one) => !ids.includes(one));
    act(kind, [...ids.map((one) => ["chosen", one]), ...all.map((one) => ["seen", one]), ...(left ? [["picture", left]] : []), ...fields]);
  }
  const DO = {
    apart: () => withChosen("apart", [["together", "1"]]),
    "apart-each": () => withChosen("apart", [["together", "0"]]),
    confirm: () => withChosen("confirm", []),
    profile: () => withChosen("say", [["kind", "profile"], ["value", "yes"]]),
    unusable: () => withChosen("say", [["kind", "unusable"], ["value", "yes"]]),
    none: () => { for (const box of boxes) box.checked = false; drawChosen(); },
  };
  document.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", DO[button.dataset.do]));
  byId("move-to")?.addEventListener("change", (event) => { if (event.target.value) withChosen("move", [["to", event.target.value]]); event.target.value = ""; });
  byId("set-side")?.addEventListener("change", (event) => { if (event.target.value) withChosen("say", [["kind", "viewpoint"], ["value", event.target.value === "-" ? "" : event.target.value]]); event.target.value = ""; });
  document.querySelectorAll("[data-usable]").forEach((button) => button.addEventListener("click", () => act("say", [["chosen", button.dataset.usable], ["kind", "unusable"], ["value", ""]])));
  drawChosen();

  // ---- dragging -----------------------------------------------------------------------------------
  let dragged = [];
  for (const shot of document.querySelectorAll(".shot[draggable]")) {
    shot.addEventListener("dragstart", (event) => {
      const own = shot.dataset.picture, many = chosen();
      dragged = many.includes(own) ? many : [own];
      event.dataTransfer.setData("text/plain", dragged.join("\n"));
      event.dataTransfer.effectAllowed = "move";
      if (byId("drop-new") && dragged.length < all.length) byId("drop-new").hidden = false;
    });
    shot.addEventListener("dragend", () => { if (byId("drop-new")) byId("drop-new").hidden = true; });
  }
  function dropsOn(place, then) {
    place.addEventListener("dragover", (event) => { if (dragged.length) { event.preventDefault(); place.classList.add("over"); } });
    place.addEventListener("dragleave", () => place.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      place.classList.remove("over");
      then();
    });
  }
  if (byId("drop-new")) dropsOn(byId("drop-new"), () => withChosen("apart", [["together", "1"]], dragged));
  for (const near of document.querySelectorAll("[data-near]")) dropsOn(near, () => withChosen("move", [["to", near.dataset.near]], dragged));

  // ---- forms, judging -----------------------------------------------------------------------------
  document.querySelectorAll("form[data-act]").forEach((form) => form.addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = [...new FormData(form)];
    act(form.dataset.act, [["picture", form.dataset.picture], ["a", form.dataset.picture], ...fields]);
  }));
  document.querySelectorAll("[data-judge]").forEach((button) => button.addEventListener("click", () => {
    const { judge, a, b } = button.dataset;
    act(judge === "match" ? "merge" : "judge", [["a", a], ["b", b], ["decision", judge]]);
  }));
  const answers = byId("answers");
  function answer(decision) {
    // What was left for later, and the limits, stay.
    act("judge", [["a", answers.dataset.a], ["b", answers.dataset.b], ["decision", decision], ["note", byId("judge-note").value]], `${base}/review${location.search}`);
  }
  document.querySelectorAll("[data-answer]").forEach((button) => button.addEventListener("click", () => answer(button.dataset.answer)));
  let enlarged = [];
  dialog?.addEventListener("shown", (event) => {
    enlarged = event.detail;
    byId("viewer-judge").hidden = enlarged.length < 2;
    flash("");
  });
  function answerEnlarged(decision) {
    if (enlarged.length < 2) return;
    if (answers && enlarged.includes(answers.dataset.a) && enlarged.includes(answers.dataset.b)) answer(decision);
    else act("judge", [["a", enlarged[0]], ["b", enlarged[1]], ["decision", decision]]);
  }
  document.querySelectorAll("[data-viewer]").forEach((button) => button.addEventListener("click", () => answerEnlarged(button.dataset.viewer)));
  const undo = () => { if (byId("undo")) act("undo", [["run", byId("undo").dataset.run]], location.href); };
  byId("undo")?.addEventListener("click", undo);

  // ---- keys ---------------------------------------------------------------------------------------
  const judged = (decision) => () => (dialog && dialog.open ? answerEnlarged(decision) : answers && answer(decision));
  const KEYS = {
    m: judged("match"), n: judged("nomatch"), u: judged("unknown"), z: undo,
    j: () => byId("skip")?.click(),
    o: () => byId("tools") && DO.apart(), c: () => byId("tools") && DO.confirm(), Escape: () => byId("tools") && DO.none(),
    a: () => { for (const box of boxes) box.checked = true; drawChosen(); },
    e: () => { const form = byId("describe"); if (form) { form.open = true; form.querySelector("input").focus(); form.querySelector("input").select(); } },
  };
  addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=checkbox]), textarea, select") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!KEYS[key] || (dialog && dialog.open && !"mnu".includes(key))) return;
    if (key !== "Escape") event.preventDefault();
    KEYS[key]();
  });

  // ---- what others do meanwhile -------------------------------------------------------------------
  const scroll = recall(sessionStorage, "reid-serve:scroll");
  if (scroll) { scrollTo({ top: Number(scroll), behavior: "instant" }); keep(sessionStorage, "reid-serve:scroll", ""); }
  setInterval(async () => {
    if (document.hidden || busy) return;
    try {
      const now = await (await fetch(`${base}/version`)).json();
      if (now.version !== version && !chosen().length && byId("flash").hidden) flash("Somebody has changed something since this page was made: reload it to see.", true);
    } catch { /* it is asked again */ }
  }, 15000);
})();
