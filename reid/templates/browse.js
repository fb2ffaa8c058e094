"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const all = Object.entries(JSON.parse(document.getElementById("content").textContent)).map(([id, one], given) => ({ id, given, ...one }));
  const byId = (id) => document.getElementById(id);
  const PER_PAGE = 120;
  const filters = [...document.querySelectorAll("select[data-filter]")];
  const figure = (n) => n.toLocaleString("en");
  let page = 0;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  for (const one of all) one.searched = [one.path, one.words].join("\n").toLowerCase();
  // A picture whose time or individual is not known comes last.
  const by = (key) => (a, b) => !a[key] - !b[key] || (a[key] || "").localeCompare(b[key] || "", "en", { numeric: true }) || a.given - b.given;
  const ORDERS = { given: (a, b) => a.given - b.given, when: by("when"), who: by("individual") };

  function chosen() {
    const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter((select) => select.selectedIndex > 0).map((select) => [select.id, select.value]);
    return all
      .filter((one) => wanted.every(([name, value]) => (one[name] || "") === value) && words.every((word) => one.searched.includes(word)))
      .sort(ORDERS[byId("order").value]);
  }
  function card(one) {
    const picture = one.small ? make("img", { src: one.small, alt: "", loading: "lazy", decoding: "async" }) : make("span", { class: "blank" }, "no picture");
    const open = make("button", { type: "button", class: "open", "data-pictures": one.id, "aria-label": `Enlarge ${one.path}` }, picture);
    return make("li", { class: "shot" }, open, make("div", { class: "words" }, make("b", {}, one.individual || "not known"), one.path, make("br"), one.words));
  }
  function draw() {
    const found = chosen(), pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    page = Math.min(page, pages - 1);
    byId("pictures").replaceChildren(...found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(card));
    byId("count").textContent = found.length === all.length ? "" : `${figure(found.length)} of ${figure(all.length)} pictures`;
    byId("pager").hidden = pages === 1;
    byId("where").textContent = `Page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
    const kept = { q: byId("search").value, o: byId("order").value, p: page };
    for (const select of filters) if (select.selectedIndex > 0) kept[select.id] = `=${select.value}`;
    try { history.replaceState(null, "", `#${new URLSearchParams(kept)}`); } catch { /* a browser may refuse it for a file */ }
  }
  function turn(step) {
    page += step;
    draw();
    byId("found").scrollIntoView({ behavior: "instant" });
  }
  const kept = new URLSearchParams(location.hash.slice(1));
  byId("search").value = kept.get("q") || "";
  if (kept.get("o")) byId("order").value = kept.get("o");
  for (const select of filters) {
    const value = kept.get(select.id);
    const place = value === null ? 0 : [...select.options].findIndex((option, at) => at > 0 && `=${option.value}` === value);
    select.selectedIndex = Math.max(0, place);
  }
  page = Number(kept.get("p")) || 0;
  for (const control of [byId("search"), byId("order"), ...filters]) control.addEventListener("input", () => { page = 0; draw(); });
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
    if (event.key === "ArrowRight" && !byId("next").disabled) turn(1);
    if (event.key === "ArrowLeft" && !byId("back").disabled) turn(-1);
  });
  draw();
})();
