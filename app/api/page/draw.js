// Small drawings without a library: shares as a bar, text with colours, a curve.

const SVG = "http://www.w3.org/2000/svg";

export const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 2 : share < 0.1 ? 1 : 0)} %`;

/** The colour class of a label: sentiment has its own two, other labels share one. */
export function hueOf(label) {
  return { positive: "good", negative: "bad" }[label] ?? "other";
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Fills a bar with parts [{label, share}] and says the same in words. */
export function drawShares(bar, parts) {
  bar.replaceChildren(...parts.filter(({ share }) => share > 0).map(({ label, share, hue }) => {
    const part = element("span", { className: hue ?? hueOf(label), title: `${label}: ${percent(share)}` });
    part.style.flexGrow = share;
    return part;
  }));
  bar.setAttribute("aria-label", parts.map(({ label, share }) => `${label} ${percent(share)}`).join(", "));
}

/** The text with its tokens coloured by what they spoke for and its sentences underlined by what they say.
 *
 * Offsets count code points, as the service's do.
 */
export function drawWords(place, text, label, other, { tokens = [], sentences = [] }) {
  const characters = Array.from(text);
  const strongest = Math.max(1e-9, ...tokens.map((token) => Math.abs(token.attribution)));
  const piece = (from, to) => characters.slice(from, to).join("");
  const within = (from, to) => {
    const parts = [];
    let at = from;
    for (const token of tokens) {
      if (token.start < at || token.end > to) continue;
      parts.push(piece(at, token.start));
      const strength = Math.abs(token.attribution) / strongest;
      const mark = element("mark", { className: hueOf(token.attribution > 0 ? label : other) }, piece(token.start, token.end));
      mark.style.setProperty("--strength", (0.65 * strength).toFixed(3));
      mark.title = `${token.attribution > 0 ? "for" : "against"} ${label}: ${Math.abs(token.attribution).toFixed(2)}`;
      parts.push(strength < 0.04 ? mark.textContent : mark);
      at = token.end;
    }
    return [...parts, piece(at, to)];
  };
  const shown = [];
  let at = 0;
  for (const sentence of sentences) {
    shown.push(...within(at, sentence.start));
    const span = element("span", { className: `sentence ${hueOf(sentence.label)}` }, ...within(sentence.start, sentence.end));
    span.style.setProperty("--strength", Math.max(0.15, 2 * sentence.score - 1).toFixed(3));
    shown.push(span);
    at = sentence.end;
  }
  place.replaceChildren(...shown, ...within(at, characters.length));
}

/** The probability of the label after each token, as a line with a scale. */
export function drawCurve(svg, points) {
  const [left, right, top, bottom] = [44, 592, 8, 128];
  const x = (index) => left + (right - left) * (points.length > 1 ? index / (points.length - 1) : 1);
  const y = (share) => bottom - (bottom - top) * share;
  const make = (name, attributes, text) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text) made.textContent = text;
    return made;
  };
  const scale = [0, 0.5, 1].flatMap((share) => [
    make("line", { x1: left, x2: right, y1: y(share), y2: y(share) }),
    make("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`),
  ]);
  const places = points.map((point, index) => `${x(index).toFixed(1)} ${y(point.score).toFixed(1)}`);
  if (places.length === 1) places.unshift(`${left} ${y(points[0].score).toFixed(1)}`);
  svg.replaceChildren(
    ...scale,
    make("text", { x: left, y: bottom + 17 }, "first word"),
    make("text", { x: right, y: bottom + 17, "text-anchor": "end" }, "last word"),
    make("path", { d: `M${places.join("L")}` }),
  );
}
