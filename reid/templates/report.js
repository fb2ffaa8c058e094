"use strict";
// User text reaches the page through textContent and attributes only, never as HTML.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const content = read("content");
  const thumbnails = read("thumbnails");
  const { rows, clusters, singletons, maps, species, identities } = content;
  const byId = (id) => document.getElementById(id);
  const figure = (n) => n.toLocaleString("en");
  const FIRST_IMAGES = 16, MORE_IMAGES = 96, CLUSTERS_A_PAGE = 8, SINGLETONS_A_PAGE = 48, PAIRS_A_PAGE = 6, LEGEND = 14;

  const clusterOf = new Int32Array(rows.path.length).fill(-1);
  clusters.forEach((cluster, c) => {
    cluster.rows.forEach((row) => { clusterOf[row] = c; });
    const known = new Map();
    for (const row of cluster.rows) {
      if (rows.identity[row] >= 0) known.set(rows.identity[row], (known.get(rows.identity[row]) || 0) + 1);
    }
    cluster.known = [...known].sort((a, b) => b[1] - a[1]);
    cluster.strangers = cluster.known.slice(1).reduce((sum, [, count]) => sum + count, 0);
  });

  // ---- small makers -------------------------------------------------------------------------
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value !== null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  }
  const fileName = (row) => rows.path[row].split(/[\\/]/).pop();
  // Cameras count from IMG_0001 each: a file's name alone says little.
  const whence = (row) => [rows.path[row].split(/[\\/]/).slice(-2, -1)[0], (optional("timestamp", row) || "").slice(0, 16)].filter(Boolean);
  // A day is not broken at its hyphens, where a line of a telephone ends.
  const captionOf = (row, second) => [...whence(row), second || optional("viewpoint", row)].filter(Boolean)
    .flatMap((part, place) => [place ? " · " : "", ...part.split(/(\d{4}-\d\d-\d\d)/).map((words, odd) => (odd % 2 ? make("span", { class: "whole" }, words) : words))]);
  const speciesOf = (row) => species[rows.species[row]];
  const identityOf = (row) => (rows.identity[row] < 0 ? null : identities[rows.identity[row]]);
  const clusterName = (row) => (clusterOf[row] < 0 ? "stands alone" : clusters[clusterOf[row]].label);
  const optional = (name, row) => (rows[name] && rows[name][row] >= 0 ? rows[`${name}_names`][rows[name][row]] : null);

  function picture(row) {
    const number = rows.thumbnail[row];
    const what = [speciesOf(row), optional("viewpoint", row), clusterName(row), rows.path[row]].filter(Boolean).join(", ");
    if (number < 0) return make("span", { class: "blank", role: "img", "aria-label": `No thumbnail: ${what}` }, "no thumbnail");
    return make("img", { src: `data:${content.mime};base64,${thumbnails[number]}`, alt: what, decoding: "async" });
  }
  function tile(row, second) {
    return make("button", { type: "button", class: "tile", title: rows.path[row], onclick: () => view(row) },
      picture(row),
      make("span", { class: "caption" }, make("b", {}, fileName(row)), make("i", {}, ...captionOf(row, second))));
  }
  function pager(name, draw) {
    const home = document.querySelector(`.pager[data-for="${name}"]`);
    let page = 0, pages = 1;
    const where = make("span", { "aria-live": "polite" });
    const go = (step) => { page += step; draw(); byId(name).scrollIntoView(); };
    const back = make("button", { type: "button", onclick: () => go(-1) }, "‹ Previous");
    const next = make("button", { type: "button", onclick: () => go(1) }, "Next ›");
    home.append(back, where, next);
    return {
      slice(items, size) {
        pages = Math.max(1, Math.ceil(items.length / size));
        page = Math.min(Math.max(page, 0), pages - 1);
        where.textContent = `Page ${figure(page + 1)} of ${figure(pages)}`;
        back.disabled = page === 0;
        next.disabled = page === pages - 1;
        home.hidden = pages === 1;
        return items.slice(page * size, (page + 1) * size);
      },
      first() { page = 0; },
    };
  }
  function speciesChoice(id, draw) {
    const select = byId(id);
    select.append(make("option", { value: "-1" }, "all"), ...species.map((name, s) => make("option", { value: s }, name)));
    select.parentElement.hidden = species.length < 2;
    select.addEventListener("change", draw);
    return (row) => select.value === "-1" || rows.species[row] === Number(select.value);
  }

  // ---- clusters -----------------------------------------------------------------------------
  function sheetOf(cluster) {
    const sheet = make("div", { class: "sheet" });
    const show = (members) => sheet.append(...members.map((row) => tile(row, [identityOf(row), optional("viewpoint", row)].filter(Boolean).join(" · "))));
    show(cluster.rows.slice(0, FIRST_IMAGES));
    const head = make("div", { class: "cluster-head" }, make("h3", {}, cluster.label), make("span", {}, `${figure(cluster.size)} images`));
    if (cluster.known.length === 1) head.append(make("span", { class: "badge" }, `known as ${identities[cluster.known[0][0]]}`));
    if (cluster.known.length > 1) {
      const names = cluster.known.slice(0, 4).map(([id, count]) => `${identities[id]} (${count})`).join(", ");
      head.append(make("span", { class: "badge mixed" }, `${cluster.known.length} known individuals: ${names}${cluster.known.length > 4 ? ", …" : ""}`));
    }
    const block = make("article", { class: "cluster", "aria-label": cluster.label }, head, sheet);
    let shown = Math.min(FIRST_IMAGES, cluster.rows.length);
    const more = make("button", { type: "button", onclick: () => {
      const last = sheet.lastElementChild;
      show(cluster.rows.slice(shown, shown + MORE_IMAGES));
      shown = Math.min(shown + MORE_IMAGES, cluster.rows.length);
      offer();
      last.nextElementSibling.focus();
    } });
    const offer = () => {
      more.hidden = shown === cluster.rows.length;
      more.textContent = `Show ${figure(Math.min(MORE_IMAGES, cluster.rows.length - shown))} more`;
    };
    offer();
    block.append(more);
    if (cluster.rows.length < cluster.size) {
      block.append(make("p", { class: "hint" }, `${figure(cluster.size - cluster.rows.length)} more images are left out of this page.`));
    }
    return block;
  }
  if (clusters.length) {
    const order = byId("cluster-order");
    if (clusters.some((cluster) => cluster.strangers)) order.append(make("option", { value: "mixed" }, "most mixed first"));
    order.append(make("option", { value: "small" }, "smallest first"));
    const orders = { size: (a, b) => b.size - a.size, small: (a, b) => a.size - b.size, mixed: (a, b) => b.strangers - a.strangers || b.size - a.size };
    const draw = () => {
      const shown = clusters.filter((cluster) => wanted(cluster.rows[0])).sort(orders[order.value]);
      byId("cluster-sheets").replaceChildren(...pages.slice(shown, CLUSTERS_A_PAGE).map(sheetOf));
    };
    const afresh = () => { pages.first(); draw(); };
    const pages = pager("clusters", draw);
    const wanted = speciesChoice("cluster-species", afresh);
    order.addEventListener("change", afresh);
    draw();
  }

  // ---- images that stand alone --------------------------------------------------------------
  if (singletons.length) {
    const draw = () => {
      const shown = singletons.filter(wanted);
      byId("singleton-sheet").replaceChildren(...pages.slice(shown, SINGLETONS_A_PAGE).map((row) => {
        const distance = rows.distance[row];
        return tile(row, distance === null ? "no other image" : `nearest at ${distance.toFixed(3)}`);
      }));
    };
    const pages = pager("singletons", draw);
    const wanted = speciesChoice("singleton-species", () => { pages.first(); draw(); });
    draw();
  }

  // ---- pairs that were looked at closely ------------------------------------------------------
  if (content.pairs.length) {
    let pointsShown = true;
    const byProbability = (share) => `P(same individual) ${(100 * share).toFixed(share > 0.99 || share < 0.01 ? 1 : 0)} %`;
    function pairOf(pair) {
      const images = pair.pictures.map((number, side) => make("img", { src: `data:${content.mime};base64,${thumbnails[number]}`, alt: rows.path[[pair.a, pair.b][side]], decoding: "async" }));
      const home = make("div", { class: "pair over" }, ...[pair.a, pair.b].map((row, side) => make("figure", {},
        images[side], make("figcaption", {}, make("b", {}, fileName(row)), [...whence(row), clusterName(row), identityOf(row) && `known as ${identityOf(row)}`].filter(Boolean).join(" · ")))));
      const together = clusterOf[pair.a] >= 0 && clusterOf[pair.a] === clusterOf[pair.b];
      const block = make("article", { class: "cluster", "aria-label": `${rows.path[pair.a]} and ${rows.path[pair.b]}` },
        make("div", { class: "cluster-head" }, make("h3", {}, byProbability(pair.probability)), make("span", {}, together ? "in one cluster" : "not in one cluster")),
        home, make("dl", { class: "evidence" }, ...matchedPoints.words(pair.evidence)));
      return [block, () => matchedPoints.show(home, images, pointsShown ? pair.evidence.points : null)];
    }
    let again = [];
    const draw = () => {
      const made = pages.slice(content.pairs, PAIRS_A_PAGE).map(pairOf);
      byId("pair-list").replaceChildren(...made.map(([block]) => block));
      again = made.map(([, show]) => show);
      again.forEach((show) => show());
    };
    const pages = pager("pairs", draw);
    byId("points").addEventListener("click", () => {
      pointsShown = !pointsShown;
      byId("points").setAttribute("aria-pressed", String(pointsShown));
      again.forEach((show) => show());
    });
    draw();
  }

  // ---- one image beside its nearest other ---------------------------------------------------
  const viewer = byId("viewer");
  let viewed = -1;
  function facts(row) {
    const list = make("dl");
    const entries = { Species: speciesOf(row), Cluster: clusterName(row), Identity: identityOf(row), Viewpoint: optional("viewpoint", row), Time: optional("timestamp", row) };
    for (const [name, value] of Object.entries(entries)) if (value) list.append(make("dt", {}, name), make("dd", {}, value));
    return list;
  }
  function view(row) {
    viewed = row;
    byId("hover").hidden = true;
    const nearest = rows.nearest[row], distance = rows.distance[row];
    byId("viewer-title").textContent = rows.path[row];
    byId("viewer-picture").replaceChildren(picture(row));
    byId("viewer-facts").replaceChildren(make("b", {}, "This image"), facts(row));
    const right = byId("viewer-nearest"), words = byId("viewer-nearest-facts");
    if (nearest >= 0) {
      right.replaceChildren(picture(nearest));
      words.replaceChildren(make("b", {}, `Nearest other image, distance ${distance === null ? "unknown" : distance.toFixed(3)}`), facts(nearest),
        make("button", { type: "button", onclick: () => view(nearest) }, "Look at this one"));
    } else {
      right.replaceChildren(make("span", { class: "blank" }, "none to show"));
      words.replaceChildren(make("b", {}, distance === null ? "There is no other image of this species." : `The nearest other image, at distance ${distance.toFixed(3)}, is left out of this page.`));
    }
    const mates = clusterOf[row] < 0 ? [] : clusters[clusterOf[row]].rows.filter((other) => other !== row);
    byId("viewer-mates").replaceChildren();
    if (mates.length) byId("viewer-mates").append(make("h3", {}, `In the same cluster (${figure(mates.length)})`), make("div", { class: "sheet" }, ...mates.slice(0, 32).map((mate) => tile(mate))));
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
    byId("viewer-close").focus();
  }
  byId("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

  // ---- plots --------------------------------------------------------------------------------
  const redraw = [];
  const paint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const font = () => ({ family: getComputedStyle(document.body).fontFamily, size: 13, color: paint("--soft") });
  const CRITERIA = { ari: "ARI", ami: "AMI", pairwise_f1: "pairwise F1" };

  function drawCurve(node) {
    const curve = content.tuning[Number(node.dataset.curve)];
    const name = CRITERIA[curve.criterion] || curve.criterion || "score";
    const best = curve.thresholds.reduce((b, t, i) => (Math.abs(t - curve.eps) < Math.abs(curve.thresholds[b] - curve.eps) ? i : b), 0);
    const axis = { gridcolor: paint("--line"), linecolor: paint("--line"), zeroline: false, fixedrange: true, automargin: true };
    const late = curve.eps > (curve.thresholds[0] + curve.thresholds.at(-1)) / 2;
    Plotly.react(node, [
      { x: curve.thresholds, y: curve.scores, mode: "lines", line: { color: paint("--accent"), width: 2.5 }, hovertemplate: `ε %{x:.3f}: ${name} %{y:.3f}<extra></extra>` },
      { x: [curve.thresholds[best]], y: [curve.scores[best]], mode: "markers", marker: { size: 11, color: paint("--card"), line: { color: paint("--accent"), width: 3 } }, hoverinfo: "skip" },
    ], {
      font: font(), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, dragmode: false, hovermode: "x",
      margin: { l: 8, r: 12, t: 22, b: 8 },
      xaxis: { ...axis, title: { text: "threshold ε (cosine distance)", standoff: 8 } },
      yaxis: { ...axis, title: { text: name, standoff: 8 }, rangemode: "tozero" },
      shapes: [{ type: "line", x0: curve.eps, x1: curve.eps, yref: "paper", y0: 0, y1: 1, line: { color: paint("--soft"), dash: "dot", width: 1.5 } }],
      annotations: [{ x: curve.eps, yref: "paper", y: 1, yanchor: "bottom", xanchor: late ? "right" : "left", text: `chosen ε = ${curve.eps.toFixed(3)}`, showarrow: false, font: { color: paint("--ink"), size: 13 } }],
    }, { displayModeBar: false, responsive: true });
  }
  document.querySelectorAll(".curve").forEach((node) => {
    // A hundred species are a hundred charts: each is drawn when it comes near the screen.
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      drawCurve(node);
      redraw.push(() => drawCurve(node));
    }, { rootMargin: "600px" }).observe(node);
  });

  const COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#d4a72c", "#d37295", "#9c755f", "#2a9fd6", "#7fb347", "#8b6fd1"];
  const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "star"];
  const look = (order) => ({ colour: COLOURS[order % COLOURS.length], symbol: SYMBOLS[Math.floor(order / COLOURS.length) % SYMBOLS.length] });
  const SHAPES = { circle: "M6 1a5 5 0 1 1 0 10a5 5 0 1 1 0-10", diamond: "M6 0l5 6l-5 6l-5-6z", square: "M1 1h10v10h-10z", "triangle-up": "M6 1l5 10h-10z", cross: "M4 1h4v3h3v4h-3v3h-4v-3h-3v-4h3z", star: "M6 0l1.5 4.2h4.5l-3.6 2.8l1.3 4.5l-3.7-2.7l-3.7 2.7l1.3-4.5l-3.6-2.8h4.5z" };
  function swatch({ colour, symbol }) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [name, value] of Object.entries({ width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" })) svg.setAttribute(name, value);
    path.setAttribute("d", SHAPES[symbol]);
    path.setAttribute("fill", colour);
    svg.append(path);
    return svg;
  }
  const touch = matchMedia("(pointer: coarse)").matches;
  const hasWebGL = () => Boolean(document.createElement("canvas").getContext("webgl"));

  function mapOfLikeness() {
    const plot = byId("map-plot"), speciesSelect = byId("map-species"), colourSelect = byId("map-colour"), find = byId("map-find");
    const radios = [...document.querySelectorAll("input[name=view]")];
    const colourings = { cluster: ["Cluster", (row) => clusterOf[row], (c) => clusters[c].label, "stands alone"] };
    if (identities.length) colourings.identity = ["Known identity", (row) => rows.identity[row], (i) => identities[i], "unknown"];
    if (rows.viewpoint) colourings.viewpoint = ["Viewpoint", (row) => rows.viewpoint[row], (v) => rows.viewpoint_names[v], "unknown"];
    if (species.length > 1) colourings.species = ["Species", (row) => rows.species[row], (s) => species[s], ""];
    speciesSelect.append(...maps.map((map, m) => make("option", { value: m }, map.species === null ? "all" : map.species)));
    byId("map-species-label").hidden = maps.length < 2;
    colourSelect.append(...Object.entries(colourings).map(([key, [label]]) => make("option", { value: key }, label)));
    let map = maps[0], brought = null;
    radios[maps[0].tsne ? 1 : 0].checked = true;
    if (map.species === null) colourSelect.value = "species";

    function opacities(group) {
      const text = find.value.trim().toLowerCase();
      const faded = brought !== null || text;
      return map.rows.map((row) => {
        if (!faded) return 0.85;
        if (brought !== null && brought.row === row) return 1;
        return (brought === null || (brought.row === undefined && group(row) === brought.group)) && (!text || rows.path[row].toLowerCase().includes(text)) ? 1 : 0.08;
      });
    }
    function draw() {
      radios[1].disabled = !map.tsne;
      const tsne = radios[1].checked && map.tsne;
      if (!tsne) radios[0].checked = true;
      document.querySelectorAll("#map-hint [data-view]").forEach((part) => { part.hidden = (part.dataset.view === "tsne") !== Boolean(tsne); });
      const [, group, name, nobody] = colourings[colourSelect.value];
      const sizes = new Map();
      for (const row of map.rows) sizes.set(group(row), (sizes.get(group(row)) || 0) + 1);
      const ordered = [...sizes].filter(([key]) => key >= 0).sort((a, b) => b[1] - a[1]).map(([key]) => key);
      const looks = new Map(ordered.map((key, order) => [key, look(order)]));
      const grey = { colour: paint("--soft"), symbol: "circle" };
      const looksOf = map.rows.map((row) => looks.get(group(row)) || grey);
      const opacity = opacities(group);
      const large = map.rows.length > content.webglAbove;
      const axis = { visible: false, zeroline: false };
      Plotly.react(plot, [{
        type: large && hasWebGL() ? "scattergl" : "scatter", mode: "markers", x: (tsne || map.pca)[0], y: (tsne || map.pca)[1], hoverinfo: "none",
        marker: { color: looksOf.map((l) => l.colour), symbol: looksOf.map((l) => l.symbol), opacity, size: map.rows.map((row) => (large ? 6 : group(row) < 0 ? 6 : 9)), line: { width: large ? 0 : 0.7, color: paint("--paper") } },
      }], {
        font: font(), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 12, r: 12, t: 12, b: 12 }, showlegend: false, hovermode: "closest",
        modebar: { bgcolor: "rgba(0,0,0,0)", color: paint("--soft"), activecolor: paint("--accent") },
        // A finger on the map scrolls the page; the buttons of the bar zoom.
        dragmode: touch ? false : "pan", xaxis: axis, yaxis: { ...axis, scaleanchor: "x" }, uirevision: `${speciesSelect.value} ${Boolean(tsne)}`,
      }, {
        responsive: true, displaylogo: false, displayModeBar: true, scrollZoom: false,
        // Listed one by one: the bar as it comes has a button that sends the chart to a server.
        modeBarButtons: [["toImage"], ["zoom2d", "pan2d"], ["lasso2d", "select2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"]],
      });
      const count = opacity.filter((o) => o > 0.5).length;
      byId("map-status").textContent = count === map.rows.length ? `${figure(count)} images. ${touch ? "Press" : "Point at"} a dot to see its image${touch ? "" : ", press it for more"}; the lasso above lists the files inside.` : `${figure(count)} of ${figure(map.rows.length)} images brought out.`;
      const chip = (key, label, its) => make("button", { type: "button", "aria-pressed": String(brought !== null && brought.group === key), onclick: () => {
        brought = brought !== null && brought.group === key ? null : { group: key };
        draw();
      } }, swatch(its), label, make("small", {}, figure(sizes.get(key))));
      const chips = ordered.slice(0, LEGEND).map((key) => chip(key, name(key), looks.get(key)));
      if (brought !== null && brought.group >= 0 && !ordered.slice(0, LEGEND).includes(brought.group) && looks.has(brought.group)) chips.push(chip(brought.group, name(brought.group), looks.get(brought.group)));
      if (sizes.has(-1)) chips.push(chip(-1, nobody, grey));
      if (ordered.length > LEGEND) chips.push(make("small", { class: "hint" }, `and ${figure(ordered.length - LEGEND)} more`));
      const pressed = [...byId("map-legend").children].indexOf(document.activeElement);
      byId("map-legend").replaceChildren(...chips);
      if (pressed >= 0 && chips[pressed]) chips[pressed].focus();
    }
    const afresh = () => { brought = null; draw(); };
    speciesSelect.addEventListener("change", () => {
      map = maps[Number(speciesSelect.value)];
      if (map.species !== null && colourSelect.value === "species") colourSelect.value = "cluster";
      afresh();
    });
    colourSelect.addEventListener("change", afresh);
    radios.forEach((radio) => radio.addEventListener("change", draw));
    find.addEventListener("input", draw);
    draw();
    redraw.push(draw);

    const hover = byId("hover");
    plot.on("plotly_hover", ({ points, event }) => {
      const row = map.rows[points[0].pointIndex];
      const lines = [...whence(row), clusterName(row), identityOf(row) && `known as ${identityOf(row)}`, optional("viewpoint", row)].filter(Boolean).join(" · ");
      hover.replaceChildren(picture(row), make("p", {}, make("b", {}, fileName(row)), lines));
      hover.hidden = false;
      const box = hover.getBoundingClientRect(), x = event.clientX ?? 0, y = event.clientY ?? 0;
      hover.style.left = `${Math.max(8, x + 18 + box.width > innerWidth ? x - 18 - box.width : x + 18)}px`;
      hover.style.top = `${Math.max(8, Math.min(y - box.height / 2, innerHeight - box.height - 8))}px`;
      plot.style.cursor = "pointer";
    });
    const leave = () => { hover.hidden = true; };
    plot.on("plotly_unhover", leave);
    plot.addEventListener("mouseleave", leave);
    addEventListener("scroll", leave, { passive: true });
    plot.on("plotly_click", ({ points }) => view(map.rows[points[0].pointIndex]));
    const choose = (chosen) => {
      byId("map-chosen").hidden = !chosen.length;
      byId("map-chosen-title").textContent = `${figure(chosen.length)} image${chosen.length === 1 ? "" : "s"} chosen`;
      byId("map-chosen-names").value = chosen.map((row) => rows.path[row]).sort().join("\n");
    };
    const chooseNone = () => {
      choose([]);
      if (plot.layout.selections?.length) Plotly.relayout(plot, { selections: [] });
      Plotly.restyle(plot, { selectedpoints: [null] });
    };
    // Without points the outline was drawn around nothing; without an event it was taken away.
    plot.on("plotly_selected", (event) => choose(event ? event.points.map((point) => map.rows[point.pointIndex]) : []));
    plot.on("plotly_deselect", () => choose([]));
    byId("map-chosen-none").addEventListener("click", chooseNone);
    speciesSelect.addEventListener("change", chooseNone);
    byId("map-chosen-save").addEventListener("click", () => {
      const file = URL.createObjectURL(new Blob([`${byId("map-chosen-names").value}\n`], { type: "text/plain" }));
      make("a", { href: file, download: "chosen.txt" }).click();
      setTimeout(() => URL.revokeObjectURL(file), 1000);
    });
    byId("viewer-map").addEventListener("click", () => {
      viewer.close();
      if (!map.rows.includes(viewed)) {
        const other = maps.findIndex((candidate) => candidate.rows.includes(viewed));
        speciesSelect.value = other;
        map = maps[other];
      }
      colourSelect.value = "cluster";
      find.value = "";
      brought = clusterOf[viewed] < 0 ? { row: viewed } : { group: clusterOf[viewed] };
      draw();
      byId("map").scrollIntoView();
    });
  }
  if (maps.length) mapOfLikeness();
  else byId("viewer-map").hidden = true;

  // ---- similarities by cluster ---------------------------------------------------------------
  function similaritiesByCluster(shown) {
    const plot = byId("heat-plot"), select = byId("heat-species");
    select.append(...shown.map((map, m) => make("option", { value: m }, map.species)));
    byId("heat-species-label").hidden = shown.length < 2;
    function draw() {
      const map = shown[Number(select.value)], { order, ends, percent } = map.similarities;
      const z = percent.map((line, i) => percent.map((_, j) => (j <= i ? line[j] : percent[j][i]) / 100));
      const starts = ends.map((_, i) => (i ? ends[i - 1] : 0));
      const words = ends.map((end, i) => {
        const own = order.slice(starts[i], end).map((place) => map.rows[place]);
        const names = [...new Set(own.map(clusterName))];
        const which = names.length > 2 ? `${names[0]} and ${figure(names.length - 1)} more` : names.join(", ");
        return own.length === 1 ? `${which}: ${fileName(own[0])}` : `${which} (${figure(own.length)} images)`;
      });
      const axis = { visible: false, fixedrange: true, constrain: "domain" };
      Plotly.react(plot, [{
        type: "heatmap", z, colorscale: "Viridis",
        hovertext: z.map((line, i) => line.map((value, j) => `${words[i]}<br>${words[j]}<br>${i === j && ends[i] - starts[i] === 1 ? "one image" : `mean similarity ${value.toFixed(2)}`}`)),
        hovertemplate: "%{hovertext}<extra></extra>",
        colorbar: { orientation: "h", y: -0.01, yanchor: "top", title: { text: "mean cosine similarity", side: "top" }, thickness: 14, outlinewidth: 0 },
      }], {
        font: font(), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 8, r: 8, t: 8, b: 8 }, dragmode: false,
        hoverlabel: { align: "left" }, xaxis: axis, yaxis: { ...axis, autorange: "reversed", scaleanchor: "x" },
      }, { displayModeBar: false, responsive: true });
      const large = Math.max(...ends.map((end, i) => end - starts[i]));
      byId("heat-status").textContent = `n = ${figure(order.length)} images of ${map.species}${large > 1 ? `; a cell is the mean over the pairs of up to ${figure(large)} images with as many` : ""}. ${touch ? "Press" : "Point at"} a cell to see which.`;
    }
    select.addEventListener("change", draw);
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      draw();
      redraw.push(draw);
    }, { rootMargin: "600px" }).observe(plot);
  }
  const withSimilarities = maps.filter((map) => map.similarities);
  if (withSimilarities.length) similaritiesByCluster(withSimilarities);

  // ---- light and dark, and where we are -----------------------------------------------------
  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    redraw.forEach((again) => again());
  });
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const current = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(target.id), bar = link.parentElement;
      link.setAttribute("aria-current", "true");
      bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.clientWidth) / 2;
    }
  }, { rootMargin: "-20% 0px -75%" });
  document.querySelectorAll("main section").forEach((section) => current.observe(section));
})();
