"use strict";
// A list shown page by page: what the index of a book and that of all pictures have in common.
window.reidPaging = ({ perPage, chosen, show, kept }) => {
  const byId = (id) => document.getElementById(id);
  let page = Number(new URLSearchParams(location.hash.slice(1)).get("p")) || 0;

  function draw() {
    const found = chosen(), pages = Math.max(1, Math.ceil(found.length / perPage));
    page = Math.min(page, pages - 1);
    show(found.slice(page * perPage, (page + 1) * perPage), found.length);
    byId("pager").hidden = pages === 1;
    byId("where").textContent = `Page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
    try { history.replaceState(null, "", `#${new URLSearchParams({ ...kept(), p: page })}`); } catch { /* a browser may refuse it for a file */ }
  }
  function turn(step) {
    page += step;
    draw();
    byId("found").scrollIntoView({ behavior: "instant" });
  }
  byId("back").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); byId("search").focus(); }
    if (event.key === "ArrowRight" && !byId("next").disabled) turn(1);
    if (event.key === "ArrowLeft" && !byId("back").disabled) turn(-1);
  });
  return (controls) => {
    for (const control of controls) control?.addEventListener("input", () => { page = 0; draw(); });
    draw();
  };
};
window.reidMake = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
// All words that were typed must be in it.
window.reidWords = (typed) => {
  const words = typed.trim().toLowerCase().split(/\s+/).filter(Boolean);
  return (text) => words.every((word) => text.includes(word));
};
