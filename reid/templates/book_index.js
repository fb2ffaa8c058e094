"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const animals = JSON.parse(document.getElementById("content").textContent);
  const byId = (id) => document.getElementById(id);
  const make = window.reidMake;
  const figure = (n) => n.toLocaleString("en");
  const many = (n, word) => `${figure(n)} ${word}${n === 1 ? "" : "s"}`;

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
    const said = window.reidWords(byId("search").value);
    const species = byId("species") ? byId("species").value : "";
    const kind = KINDS[byId("which").value];
    return animals
      .filter((one) => (!species || one.species === species) && (!kind || kind(one)) && said(one.words))
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
  function show(some, count) {
    byId("animals").replaceChildren(...some.map(card));
    byId("count").textContent = count === animals.length ? "" : `${figure(count)} of ${figure(animals.length)} individuals`;
  }
  const kept = () => ({ q: byId("search").value, w: byId("which").value, o: byId("order").value, s: byId("species") ? byId("species").value : "" });
  const before = new URLSearchParams(location.hash.slice(1));
  byId("search").value = before.get("q") || "";
  for (const [id, key] of [["which", "w"], ["order", "o"], ["species", "s"]]) if (byId(id) && before.get(key)) byId(id).value = before.get(key);
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  });
  window.reidPaging({ perPage: 60, chosen, show, kept })(["search", "which", "order", "species"].map(byId));
})();
