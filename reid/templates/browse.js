"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const all = Object.entries(JSON.parse(document.getElementById("content").textContent)).map(([id, one], given) => ({ id, given, ...one }));
  const byId = (id) => document.getElementById(id), make = window.reidMake;
  const filters = [...document.querySelectorAll("select[data-filter]")];
  const figure = (n) => n.toLocaleString("en");
  for (const one of all) one.searched = [one.path, one.words].join("\n").toLowerCase();
  // A picture whose time or individual is not known comes last.
  const by = (key) => (a, b) => !a[key] - !b[key] || (a[key] || "").localeCompare(b[key] || "", "en", { numeric: true }) || a.given - b.given;
  const ORDERS = { given: (a, b) => a.given - b.given, when: by("when"), who: by("individual") };
  const taken = () => filters.filter((select) => select.selectedIndex > 0);

  function chosen() {
    const said = window.reidWords(byId("search").value);
    return all
      .filter((one) => taken().every((select) => (one[select.id] || "") === select.value) && said(one.searched))
      .sort(ORDERS[byId("order").value]);
  }
  function card(one) {
    const picture = one.small ? make("img", { src: one.small, alt: "", loading: "lazy", decoding: "async" }) : make("span", { class: "blank" }, "no picture");
    const open = make("button", { type: "button", class: "open", "data-pictures": one.id, "aria-label": `Enlarge ${one.path}` }, picture);
    return make("li", { class: "shot" }, open, make("div", { class: "words" }, make("b", {}, one.individual || "not known"), one.path, make("br"), one.words));
  }
  function show(some, count) {
    byId("pictures").replaceChildren(...some.map(card));
    byId("count").textContent = count === all.length ? "" : `${figure(count)} of ${figure(all.length)} pictures`;
  }
  const kept = () => ({ q: byId("search").value, o: byId("order").value, ...Object.fromEntries(taken().map((select) => [select.id, `=${select.value}`])) });

  const before = new URLSearchParams(location.hash.slice(1));
  byId("search").value = before.get("q") || "";
  if (before.get("o")) byId("order").value = before.get("o");
  for (const select of filters) {
    const place = [...select.options].findIndex((option, at) => at > 0 && `=${option.value}` === before.get(select.id));
    select.selectedIndex = Math.max(0, place);
  }
  window.reidPaging({ perPage: 120, chosen, show, kept })([byId("search"), byId("order"), ...filters]);
})();
