// Titles by what somebody types of them.

/** Text as it is compared: without case, accents and punctuation. */
export function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
}

export class Search {
  /** popular: of each row how many watch it, by which equal hits are ordered. */
  constructor(catalogue, popular) {
    this.popular = popular;
    this.names = catalogue.title.map((title, row) => {
      const names = [folded(title)];
      if (catalogue.english[row]) names.push(folded(catalogue.english[row]));
      return names;
    });
  }

  /** The rows whose title has all words of a text, best first. */
  rows(text, most) {
    const asked = folded(text);
    if (!asked) return [];
    const words = asked.split(" "), hits = [];
    this.names.forEach((names, row) => {
      const found = Math.max(...names.map((name) => closeness(name, asked, words)));
      if (found > 0) hits.push({ row, found });
    });
    const order = (one, other) =>
      other.found - one.found || this.popular[other.row] - this.popular[one.row] || one.row - other.row;
    return hits.sort(order).slice(0, most).map(({ row }) => row);
  }
}

/** 3: the whole title; 2: words of it begin so; 1: somewhere in it; 0: not. */
function closeness(name, asked, words) {
  if (name === asked) return 3;
  const padded = ` ${name}`;
  if (words.every((word) => padded.includes(` ${word}`))) return 2;
  return words.every((word) => name.includes(word)) ? 1 : 0;
}
