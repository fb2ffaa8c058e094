"use strict";
// One picture, or two side by side, as large as the window: zoom and pan move both together.
// What it shows of each picture is in #content: id → { src, path, words }.
(() => {
  const about = JSON.parse(document.getElementById("content").textContent);
  const byId = (id) => document.getElementById(id);
  const dialog = byId("viewer");
  let view = { scale: 1, x: 0, y: 0 };
  let openers = [], place = -1;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  function figureOf(id) {
    const one = about[id];
    const picture = one && one.src ? make("img", { src: one.src, alt: one.path, draggable: "false" }) : make("span", { class: "blank" }, "no picture");
    return make("figure", {}, make("div", { class: "frame" }, picture), make("figcaption", {}, make("b", {}, one ? one.path : id), one ? ` ${one.words}` : ""));
  }
  function apply() {
    const light = `brightness(${byId("brightness").value}) contrast(${byId("contrast").value})`;
    for (const image of dialog.querySelectorAll(".frame img")) {
      image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
      image.style.filter = light;
    }
  }
  function reset() {
    view = { scale: 1, x: 0, y: 0 };
    byId("brightness").value = 1;
    byId("contrast").value = 1;
    apply();
  }
  function zoom(factor, x, y) {
    const scale = Math.min(12, Math.max(1, view.scale * factor)), by = scale / view.scale;
    view = scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
    apply();
  }
  function show(ids, title) {
    byId("viewer-title").textContent = title;
    byId("stage").replaceChildren(...ids.map(figureOf));
    byId("stage").style.setProperty("--frames", ids.length);
    dialog.dataset.pictures = ids.join("\n");
    reset();
    if (!dialog.open) dialog.showModal();
    dialog.dispatchEvent(new CustomEvent("shown", { detail: ids }));
  }
  function open(button) {
    openers = [...document.querySelectorAll(".open[data-pictures]")];
    place = openers.indexOf(button);
    const ids = button.dataset.pictures.split("\n");
    show(ids, ids.length > 1 ? "With the picture that it is most like" : "Picture");
  }
  function step(by) {
    const next = openers[place + by];
    if (next) open(next);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".open[data-pictures]");
    if (button) open(button);
  });
  byId("viewer-close").addEventListener("click", () => dialog.close());
  byId("viewer-reset").addEventListener("click", reset);
  for (const id of ["brightness", "contrast"]) byId(id).addEventListener("input", apply);
  const KEYS = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), "+": () => zoom(1.4, 0, 0), "=": () => zoom(1.4, 0, 0), "-": () => zoom(1 / 1.4, 0, 0), 0: reset };
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  const stage = byId("stage");
  stage.addEventListener("wheel", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame) return;
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  const held = new Map(); // pointers that are down
  let apart = 0;
  stage.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame) return;
    frame.setPointerCapture(event.pointerId);
    held.set(event.pointerId, [event.clientX, event.clientY]);
    apart = 0;
  });
  stage.addEventListener("pointermove", (event) => {
    const was = held.get(event.pointerId);
    if (!was) return;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    if (held.size === 1) {
      if (view.scale > 1) { view.x += event.clientX - was[0]; view.y += event.clientY - was[1]; apply(); }
    } else {
      const [[ax, ay], [bx, by]] = [...held.values()];
      const now = Math.hypot(ax - bx, ay - by), box = event.target.closest(".frame").getBoundingClientRect();
      if (apart) zoom(now / apart, (ax + bx) / 2 - box.left, (ay + by) / 2 - box.top);
      apart = now;
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, (event) => { held.delete(event.pointerId); apart = 0; });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });
  window.reidViewer = { show };
})();
