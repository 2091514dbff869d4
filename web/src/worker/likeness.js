// What is like an anime, as handlers/similar has it: the weight of the cross to it, and a tenth of
// the cosine of the vectors that both are ranked by, less what all anime have in common.

const WEIGHT_OF_VECTORS = 0.1;

export const TABLES = ["anime_vectors"];

export class Likeness {
  /** crosses: those of the graph; tables: by name, those of `TABLES`. */
  constructor(crosses, tables) {
    this.crosses = crosses;
    // Whole numbers along axes that are at right angles and as long as each other, so that their
    // cosines are those of the vectors. Row 0 is of the unknown.
    this.codes = tables.anime_vectors;
    this.anime = this.codes.values.length / this.codes.columns - 1;
  }

  /** How like each anime of the catalogue is to one of them: `scores`, and `crosses`, its part of them. */
  to(row) {
    const { anime, codes } = this, { centre, lengths } = this.middle();
    const crosses = new Float64Array(anime), scores = new Float32Array(anime);
    this.crosses.each(row, (candidate, weight) => { crosses[candidate] += weight; });
    const own = Float64Array.from(codes.row(row + 1), (code, axis) => code - centre[axis]);
    for (let at = 0; at < anime; at++) {
      let product = 0;
      const other = codes.row(at + 1);
      for (let axis = 0; axis < own.length; axis++) product += own[axis] * (other[axis] - centre[axis]);
      scores[at] = crosses[at] + WEIGHT_OF_VECTORS * product / lengths[at] / lengths[row];
    }
    return { scores, crosses };
  }

  /** The mean of all vectors, and how far each is from it; made once. */
  middle() {
    if (this.made) return this.made;
    const { anime, codes } = this;
    const centre = new Float64Array(codes.columns), lengths = new Float64Array(anime);
    for (let at = 0; at < anime; at++) codes.row(at + 1).forEach((code, axis) => { centre[axis] += code / anime; });
    for (let at = 0; at < anime; at++) {
      const square = codes.row(at + 1).reduce((sum, code, axis) => sum + (code - centre[axis]) ** 2, 0);
      lengths[at] = Math.sqrt(square) || 1;
    }
    this.made = { centre, lengths };
    return this.made;
  }
}
