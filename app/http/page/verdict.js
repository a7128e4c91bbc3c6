// An answer in words: which label, and how sure it is.

import { percent } from "./draw.js";

/** From which probability on a label is called how likely, and how loud that is said: the words of the reports of the
 * Intergovernmental Panel on Climate Change, as far as they fit.
 */
const SURENESS = [
  { from: 0.95, words: "Almost certainly", level: 4 },
  { from: 0.9, words: "Very likely", level: 3 },
  { from: 0.66, words: "Likely", level: 2 },
  { from: 0.51, words: "More likely than not", level: 1 },
  { from: 0, words: "Leaning towards", level: 0 },
];
const MOST_NAMED = 2;

/** How sure a probability is, as it is shown in whole percents: in words, and as a level from 0 to 4. */
function sureness(score) {
  const shown = Math.round(100 * score) / 100;
  return SURENESS.find(({ from }) => shown >= from);
}

/** What is said of an answer: `before`, `label` and `after` make the verdict, `reason` stands below it, and `level`
 * says how loud it may be: 0 where the label is a guess.
 */
export function verdictOf({ label, score, scores, judgement = "ok" }) {
  if (judgement === "ok") {
    const { words, level } = sureness(score);
    return { before: words, label, after: percent(score), reason: "", level, sure: true };
  }
  if (judgement === "unreadable") {
    return {
      before: "", label: "Cannot read this", after: "", level: 0, sure: false,
      reason: "Too few of its words are known to the model, so any label would be a guess. It reads English.",
    };
  }
  const likely = Object.entries(scores).sort((one, two) => two[1] - one[1]).slice(0, MOST_NAMED);
  const named = likely.map(([name, share]) => `${name} (${percent(share)})`).join(" and ");
  return {
    before: "", label: "Not sure", after: "", level: 0, sure: false,
    reason: `It wavers between ${named}. Texts that praise and blame, or say little, are often so.`,
  };
}

/** The verdict in one sentence. */
export function inOneSentence(answer) {
  const { before, label, after, sure } = verdictOf(answer);
  return sure ? `${before.toLowerCase()} ${label} (${after})` : label.toLowerCase();
}
