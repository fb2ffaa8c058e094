"use strict";
// Matched points of two pictures, drawn as lines over both. Used by the page of pairs and by the report.
// points: [x, y, x, y, confidence] in thousandths of the pictures' sides, and in hundredths.
const matchedPoints = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const node = (tag, attributes) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  // From violet by way of orange to yellow: lighter is surer, for every eye and in grey as well.
  const STEPS = [[0, 94, 60, 153], [0.5, 230, 97, 1], [1, 255, 225, 77]];
  function colour(confidence) {
    const above = Math.max(1, STEPS.findIndex(([at]) => at >= confidence));
    const [low, high] = [STEPS[above - 1], STEPS[above]];
    const share = (confidence - low[0]) / (high[0] - low[0]);
    return `rgb(${[1, 2, 3].map((c) => Math.round(low[c] + share * (high[c] - low[c]))).join(" ")})`;
  }
  // Where the pixels of an image are within its element, which shows all of it and leaves margins.
  function pixels(image, from) {
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    return { left: box.left - from.left + (box.width - width) / 2, top: box.top - from.top + (box.height - height) / 2, width, height };
  }
  function draw(home, images, points) {
    const from = home.getBoundingClientRect();
    const [a, b] = images.map((image) => pixels(image, from));
    const lines = node("svg", { class: "matched", width: from.width, height: from.height, "aria-hidden": "true" });
    // The surest comes first, and is drawn last: above the others.
    for (const [ax, ay, bx, by, confidence] of [...points].reverse()) {
      const ends = { x1: a.left + ax / 1000 * a.width, y1: a.top + ay / 1000 * a.height, x2: b.left + bx / 1000 * b.width, y2: b.top + by / 1000 * b.height };
      const paint = colour(confidence / 100);
      lines.append(
        node("line", { ...ends, class: "halo" }), node("line", { ...ends, stroke: paint }),
        node("circle", { cx: ends.x1, cy: ends.y1, r: 3, fill: paint }), node("circle", { cx: ends.x2, cy: ends.y2, r: 3, fill: paint }),
      );
    }
    home.querySelectorAll(":scope > .matched").forEach((old) => old.remove());
    home.append(lines);
  }
  const seen = new Map(); // element → how to draw it again
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => seen.get(target)?.()));
  return {
    colour,
    // Over two images within `home`, again whenever its size changes; nothing while there are no points.
    show(home, images, points) {
      home.querySelectorAll(":scope > .matched").forEach((old) => old.remove());
      sizes.unobserve(home);
      seen.delete(home);
      if (!points || images.some((image) => !image)) return;
      seen.set(home, () => { if (home.isConnected && images.every((image) => image.naturalWidth)) draw(home, images, points); });
      Promise.all(images.map((image) => image.decode().catch(() => {}))).then(() => seen.get(home)?.());
      sizes.observe(home);
    },
    // What speaks for and against, in words.
    words(evidence) {
      const list = (title, sentences, kind) => {
        if (!sentences.length) return [];
        const head = document.createElement("dt"), body = document.createElement("dd"), lines = document.createElement("ul");
        head.textContent = title;
        for (const sentence of sentences) {
          const line = document.createElement("li");
          line.textContent = sentence;
          lines.append(line);
        }
        head.className = body.className = kind;
        body.append(lines);
        return [head, body];
      };
      const drawn = evidence.points.length, all = drawn + evidence.more;
      const beside = [`${all.toLocaleString("en")} points matched${evidence.more ? `, the ${drawn} surest are drawn` : ""}`, ...evidence.beside];
      return [...list("For", evidence.for, "for"), ...list("Against", evidence.against, "against"), ...list("Also", beside, "also")];
    },
  };
})();
