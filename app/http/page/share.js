// Links that bring their texts along, and the clipboard.

const NAMES = ["text", "other", "model", "against"];
/** Characters of a link that every browser and most programs take. */
const LONGEST = 8_000;

/** The address of this page with fields behind the #, which is sent to no server; "" where that is too long. */
export function linkTo(fields) {
  const parts = NAMES.filter((name) => fields[name]).map((name) => `${name}=${encodeURIComponent(fields[name].toWellFormed())}`);
  const link = `${location.origin}${location.pathname}#${parts.join("&")}`;
  return link.length > LONGEST ? "" : link;
}

/** The fields behind the #: a text, another one or a model against which it is compared, and a model; "" for none. */
export function fieldsOf(fragment) {
  const fields = new URLSearchParams(fragment.slice(1).replaceAll("+", "%2B"));
  return Object.fromEntries(NAMES.map((name) => [name, fields.get(name) ?? ""]));
}

/** Copies a text and says so. A page that is not from a safe address may not: then the text is shown, to be copied by
 * hand.
 */
export async function copy(text, place, said) {
  if (!text) {
    said.textContent = `This is too long for a link of ${LONGEST.toLocaleString("en")} characters.`;
    return;
  }
  try {
    await navigator.clipboard.writeText(text);
    said.textContent = "Copied.";
  } catch {
    place.hidden = false;
    if ("value" in place) place.value = text;
    place.focus();
    if (place.select) place.select();
    else getSelection().selectAllChildren(place);
    said.textContent = "Selected: copy it with Ctrl+C, or by a long press.";
  }
}
