// What a visitor has watched, means to watch and does not want to see: in memory, and in the
// browser's storage only where they have said so.

const KEY = "anirank";

export class Shelf {
  constructor() {
    this.ratings = new Map(); // by id; null: watched, not rated
    this.planned = new Set();
    this.hidden = new Set();
    this.remembered = false;
    this.load();
  }

  /** `{id, rating}` of what was watched, in the order it was told. */
  get history() {
    return [...this.ratings].map(([id, rating]) => ({ id, rating }));
  }

  /** Take the entries of an exported list in place of what was here. */
  take(entries) {
    this.ratings = new Map(entries.filter(({ planned }) => !planned).map(({ id, rating }) => [id, rating]));
    this.planned = new Set(entries.filter(({ planned }) => planned).map(({ id }) => id));
    this.save();
  }

  /** rating: 1 to 10; null: watched, not rated; undefined: not watched after all. */
  rate(id, rating) {
    if (rating === undefined) this.ratings.delete(id);
    else this.ratings.set(id, rating);
    this.save();
  }

  hide(id) {
    this.hidden.add(id);
    this.save();
  }

  unhide() {
    this.hidden.clear();
    this.save();
  }

  /** Whether to keep all of it in this browser from now on; throws where the browser keeps nothing. */
  remember(keep) {
    this.remembered = keep;
    if (keep) this.write();
    else localStorage.removeItem(KEY);
  }

  forget() {
    this.ratings.clear();
    this.planned.clear();
    this.hidden.clear();
    this.remembered = false;
    try {
      localStorage.removeItem(KEY);
    } catch { /* a browser without storage has kept nothing */ }
  }

  save() {
    try {
      if (this.remembered) this.write();
    } catch {
      this.remembered = false; // the storage is full, or was turned off
    }
  }

  write() {
    const kept = { ratings: [...this.ratings], planned: [...this.planned], hidden: [...this.hidden] };
    localStorage.setItem(KEY, JSON.stringify(kept));
  }

  load() {
    try {
      const { ratings, planned, hidden } = JSON.parse(localStorage.getItem(KEY));
      const isId = Number.isSafeInteger;
      const isRating = (rating) => rating === null || (rating >= 1 && rating <= 10);
      this.ratings = new Map(ratings.filter(([id, rating]) => isId(id) && isRating(rating)));
      this.planned = new Set(planned.filter(isId));
      this.hidden = new Set(hidden.filter(isId));
      this.remembered = true;
    } catch { /* nothing is kept, or not what this page wrote */ }
  }
}
