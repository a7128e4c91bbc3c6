// Small drawings without a library: shares as a bar, text with colours, a curve.

const SVG = "http://www.w3.org/2000/svg";

export const percent = (share) => `${(100 * share).toFixed(share > 0.995 && share < 1 ? 2 : share < 0.1 ? 1 : 0)}\u00a0%`;

const HUES = { positive: "good", negative: "bad", neutral: "neutral", "": "none" };

/** The colour class of a label: sentiment has its own three, other labels share one, no label is grey. */
export function hueOf(label) {
  return Object.hasOwn(HUES, label) ? HUES[label] : "other";
}

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A small square of a colour, and words behind it. */
export function swatch(hue, words) {
  return [element("span", { className: `swatch ${hue}` }), ` ${words}`];
}

const MOST_NAMED = 5;

/** Says in words what a bar shows; of many parts only the largest. */
export function showLegend(place, parts) {
  const named = parts.length <= MOST_NAMED ? parts : parts.toSorted((one, two) => two.share - one.share).slice(0, MOST_NAMED);
  const left = parts.length - named.length;
  place.replaceChildren(
    ...named.map(({ label, share }) => element("span", {}, ...swatch(hueOf(label), `${label} ${percent(share)}`))),
    ...(left ? [element("span", {}, `and ${left} others`)] : []),
  );
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

/** The probability of the label after each token, as a line with a scale. One unit is one pixel, so that letters keep
 * their size, and the scale gets the room that its letters need.
 */
export function drawCurve(svg, points) {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  if (!width || !height) return;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const make = (name, attributes, text = "") => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(text);
    return made;
  };
  const scale = [0, 0.5, 1].map((share) => ({ share, name: make("text", { "text-anchor": "end" }, `${100 * share} %`) }));
  svg.replaceChildren(...scale.map(({ name }) => name));
  const boxes = scale.map(({ name }) => name.getBBox());
  const letters = Math.max(...boxes.map((box) => box.height));
  const [left, right] = [Math.ceil(Math.max(...boxes.map((box) => box.width))) + 6, width - 4];
  const [top, bottom] = [letters / 2, height - 1.5 * letters];
  const x = (index) => left + (right - left) * (points.length > 1 ? index / (points.length - 1) : 1);
  const y = (share) => bottom - (bottom - top) * share;
  for (const { share, name } of scale) {
    name.setAttribute("x", left - 5);
    name.setAttribute("y", y(share) + letters * 0.3);
    svg.append(make("line", { x1: left, x2: right, y1: y(share), y2: y(share) }));
  }
  const places = points.map((point, index) => `${x(index).toFixed(1)} ${y(point.score).toFixed(1)}`);
  if (places.length === 1) places.unshift(`${left} ${y(points[0].score).toFixed(1)}`);
  svg.append(
    make("text", { x: left, y: height - letters * 0.3 }, "first word"),
    make("text", { x: right, y: height - letters * 0.3, "text-anchor": "end" }, "last word"),
    make("path", { d: `M${places.join("L")}` }),
  );
}
