// The wide part's crosses as the graph holds them, and reasons made of them: what each anime of a
// history, and each genre, adds to a candidate. docs/bundle-format.md has the formula; order and
// rounding are those of handlers/engine/reasons.py.

const MOST_ANIME = 3, MOST_GENRES = 2;
// Rows of a catalogue of fewer anime are kept less half of 2^16, so that 16 bits hold them.
const OFFSET = 2 ** 15;

export const TABLES = ["crossed", "cross_weights", "cross_weights_step", "crossing", "expected", "expected_step"];

export class Crosses {
  /** tables: by name, those of `TABLES`; wide: the numbers beside them; genres: of each anime, places in `wide.genres`. */
  constructor(tables, wide, genres) {
    this.wide = wide;
    this.genres = genres;
    this.tables = tables;
    this.step = tables.cross_weights_step.values[0];
    this.offset = tables.crossed.values instanceof Int16Array ? OFFSET : 0;
  }

  /** Calls `take(candidate, weight)` for each cross of an anime; rows of the catalogue. */
  each(row, take) {
    const { crossing, crossed, cross_weights } = this.tables;
    const at = crossing.values[row + 1];
    if (!at) return; // it crosses to nothing
    const to = crossed.row(at), weights = cross_weights.row(at);
    for (let place = 0; place < to.length; place++)
      if (weights[place] !== 0) take(to[place] + this.offset - 1, weights[place] * this.step);
  }

  /**
   * The reasons for each of some candidates, rows of the catalogue, most first:
   * `{row, rating, contribution}` of an anime watched, `{genre, contribution}` of a genre.
   *
   * history: `{row, rating}` of anime of the catalogue; rating null where there is none.
   */
  reasons(history, candidates) {
    const liked = this.liked(history);
    const place = new Map(candidates.map((row, at) => [row, at]));
    const added = candidates.map(() => []);
    history.forEach(({ row, rating }, at) => {
      this.each(row, (candidate, weight) => {
        const own = place.get(candidate);
        const contribution = Math.fround((1 + this.wide.taste * liked[at]) * weight);
        if (own !== undefined && contribution > 0) added[own].push({ row, rating, contribution });
      });
    });
    const byGenre = this.byGenre(history, liked);
    return candidates.map((row, at) => {
      const anime = largest(added[at], MOST_ANIME);
      const genres = [...this.genres[row]]
        .sort((one, other) => one - other)
        .map((genre) => ({ genre, contribution: Math.fround(byGenre[genre]) }))
        .filter(({ contribution }) => contribution > 0);
      return largest([...anime, ...largest(genres, MOST_GENRES)], MOST_ANIME + MOST_GENRES).map(
        (reason) => "genre" in reason ? { ...reason, genre: this.wide.genres[reason.genre].name } : reason,
      );
    });
  }

  /** How each anime of a history is liked beside what it lets expect; 0 of those not rated. */
  liked(history) {
    const expected = this.tables.expected.values, step = this.tables.expected_step.values[0];
    const residual = history.map(({ row, rating }) => rating === null ? 0 : rating - expected[row + 1] * step);
    const rated = history.filter(({ rating }) => rating !== null).length;
    const offset = residual.reduce((sum, each) => sum + each, 0) / (rated + this.wide.damping);
    return history.map(({ rating }, at) => rating === null ? 0 : residual[at] - offset);
  }

  /** What each genre adds to a candidate of it. */
  byGenre(history, liked) {
    const { genres, genre_damping: damping } = this.wide;
    const seen = genres.map(() => 0), likes = genres.map(() => 0);
    history.forEach(({ row }, at) => {
      for (const genre of this.genres[row]) {
        seen[genre] += 1;
        likes[genre] += liked[at];
      }
    });
    return genres.map(
      ({ liking, watching, usual }, genre) =>
        liking * likes[genre] / (seen[genre] + damping) +
        watching * (seen[genre] - usual * history.length) / (history.length + damping),
    );
  }
}

/** Of these the largest contributions, the first of equals first. */
function largest(contributions, most) {
  return contributions.sort((one, other) => other.contribution - one.contribution).slice(0, most);
}
