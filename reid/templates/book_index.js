"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const animals = JSON.parse(document.getElementById("content").textContent);
  const byId = (id) => document.getElementById(id);
  const PER_PAGE = 60;
  const figure = (n) => n.toLocaleString("en");
  const many = (n, word) => `${figure(n)} ${word}${n === 1 ? "" : "s"}`;
  let page = 0;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  for (const one of animals) one.words = [one.name, one.id, one.species, ...one.places].join("\n").toLowerCase();
  const KINDS = {
    again: (one) => one.seen > 1,
    once: (one) => one.seen === 1,
    doubt: (one) => one.doubt,
    unconfirmed: (one) => one.confirmed < one.pictures,
  };
  const title = (one) => one.name || one.id;
  const ORDERS = {
    pictures: (a, b) => b.pictures - a.pictures || title(a).localeCompare(title(b), "en", { numeric: true }),
    last: (a, b) => b.last.localeCompare(a.last) || b.pictures - a.pictures,
    name: (a, b) => title(a).localeCompare(title(b), "en", { numeric: true }),
  };
  function chosen() {
    const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const species = byId("species") ? byId("species").value : "";
    const kind = KINDS[byId("which").value];
    return animals
      .filter((one) => (!species || one.species === species) && (!kind || kind(one)) && words.every((word) => one.words.includes(word)))
      .sort(ORDERS[byId("order").value]);
  }
  function card(one) {
    const picture = one.src ? make("img", { src: one.src, alt: "", loading: "lazy", decoding: "async" }) : make("span", { class: "blank" }, "no picture");
    const head = make("b", {}, title(one));
    if (one.name) head.append(" ", make("small", {}, one.id));
    const words = make("div", {}, head, `${many(one.pictures, "picture")} · met ${one.seen === 1 ? "once" : `${figure(one.seen)} times`}`, make("br"));
    const when = one.first === one.last ? one.last : `${one.first} – ${one.last}`;
    words.append([when, one.places.join(", ")].filter(Boolean).join(" · "));
    if (one.doubt) words.append(make("br"), make("span", { class: "chip doubt" }, "nobody is sure"));
    else if (one.confirmed === one.pictures) words.append(make("br"), make("span", { class: "chip sure" }, "all confirmed"));
    return make("li", {}, make("a", { href: one.href }, picture, words));
  }
  function draw() {
    const found = chosen(), pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    byId("animals").replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
    byId("count").textContent = found.length === animals.length ? "" : `${figure(found.length)} of ${figure(animals.length)} individuals`;
    byId("pager").hidden = pages === 1;
    byId("where").textContent = `Page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
    const kept = { q: byId("search").value, w: byId("which").value, o: byId("order").value, s: byId("species") ? byId("species").value : "", p: page };
    try { history.replaceState(null, "", `#${new URLSearchParams(kept)}`); } catch { /* a browser may refuse it for a file */ }
  }
  function turn(by) {
    page += by;
    draw();
    byId("found").scrollIntoView({ behavior: "instant" });
  }
  const kept = new URLSearchParams(location.hash.slice(1));
  byId("search").value = kept.get("q") || "";
  for (const [id, key] of [["which", "w"], ["order", "o"], ["species", "s"]]) if (byId(id) && kept.get(key)) byId(id).value = kept.get(key);
  page = Number(kept.get("p")) || 0;
  for (const id of ["search", "which", "order", "species"]) byId(id)?.addEventListener("input", () => { page = 0; draw(); });
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
    if (event.key === "ArrowRight" && !byId("next").disabled) turn(1);
    if (event.key === "ArrowLeft" && !byId("back").disabled) turn(-1);
  });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });
  draw();
})();
