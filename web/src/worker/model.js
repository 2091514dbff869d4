// All that is computed in the page: ranks, gives reasons, finds what is alike, and searches.

import { Crosses, TABLES as OF_CROSSES } from "./crosses.js";
import { passing } from "./filter.js";
import { Graph } from "./graph.js";
import { Likeness, TABLES as OF_LIKENESS } from "./likeness.js";
import { Search } from "./search.js";
import { readTables } from "./tables.js";

export class Model {
  /** catalogue: of catalogue.json; bytes: of ranker.onnx. */
  static async open(catalogue, bytes) {
    const tables = readTables(bytes, [...OF_CROSSES, ...OF_LIKENESS, "popular"]);
    return new Model(catalogue, tables, await Graph.open(bytes, catalogue));
  }

  constructor(catalogue, tables, graph) {
    this.catalogue = catalogue;
    this.graph = graph;
    this.rows = new Map(catalogue.anime_id.map((id, row) => [id, row]));
    const { genres } = catalogue.facets;
    const places = genres.values.map((name) => catalogue.wide.genres.findIndex((genre) => genre.name === name));
    const ofWide = genres.of.map((of) => of.map((value) => places[value]).filter((place) => place >= 0));
    this.crosses = new Crosses(tables, catalogue.wide, ofWide);
    this.likeness = new Likeness(this.crosses, tables);
    this.search = new Search(catalogue, tables.popular.values.subarray(1));
  }

  /** What a page shows before it asks: the model, and the values it can filter by. */
  get described() {
    const { name, version, facets, years, episodes, adult } = this.catalogue;
    const known = years.flat().filter((year) => year > 0);
    return {
      name,
      version,
      anime: this.catalogue.anime_id.length,
      values: Object.fromEntries(Object.entries(facets).map(([column, of]) => [column, byUse(of, adult)])),
      years: [known.reduce((one, other) => Math.min(one, other)), known.reduce((one, other) => Math.max(one, other))],
      episodes: episodes.reduce((one, other) => Math.max(one, other)),
    };
  }

  /**
   * The anime of a list from its beginning: `{total, unknown, anime}`.
   *
   * history: `{id, rating}` of what was watched, rating null where there is none; order: of
   * `Graph.scores`; filter: of `passing`; adult: whether titles for adults may be in it; most: how
   * many of `total` to describe. unknown: how many of the history the catalogue does not have.
   */
  async list({ history, order, filter, adult, most }) {
    const key = JSON.stringify(history);
    if (this.key !== key) {
      this.scores = await this.graph.scores(history);
      this.key = key;
    }
    const seen = new Set(history.map(({ id }) => id)), passes = passing(this.catalogue, filter);
    const score = this.scores[order], { anime_id: ids } = this.catalogue;
    const kept = this.best(score, (row) => !seen.has(ids[row]) && (adult || !this.catalogue.adult[row]) && passes(row));
    const shown = kept.slice(0, most);
    const watched = history
      .filter(({ id }) => this.rows.has(id))
      .map(({ id, rating }) => ({ row: this.rows.get(id), rating }));
    const reasons = this.crosses.reasons(watched, shown);
    return {
      total: kept.length,
      unknown: history.length - watched.length,
      anime: shown.map((row, at) => ({
        ...this.describe(row),
        score: score[row],
        rating: this.scores.rating[row],
        reasons: reasons[at].map((reason) =>
          "genre" in reason ? reason : { ...this.named(reason.row), rating: reason.rating, contribution: reason.contribution }
        ),
      })),
    };
  }

  /** What is most like an anime, most first, and what both have in common. */
  similar({ id, adult, most }) {
    const row = this.rows.get(id), { scores, crosses } = this.likeness.to(row);
    const found = this.best(scores, (each) => each !== row && (adult || !this.catalogue.adult[each])).slice(0, most);
    return found.map((each) => ({
      ...this.describe(each),
      score: scores[each],
      genres_shared: this.shared("genres", row, each),
      studios_shared: this.shared("studios", row, each),
      watched_together: crosses[each] > 0,
    }));
  }

  /** The anime whose title has the words of a text. */
  find({ text, most }) {
    return this.search.rows(text, most).map((row) => this.describe(row));
  }

  /** The anime of some ids, those of the catalogue. */
  describeAll({ ids }) {
    return ids.filter((id) => this.rows.has(id)).map((id) => this.describe(this.rows.get(id)));
  }

  /** Rows that pass by score, the highest first, equal ones in the order of the catalogue. */
  best(score, passes) {
    const rows = [];
    for (let row = 0; row < score.length; row++) if (passes(row)) rows.push(row);
    return rows.sort((one, other) => score[other] - score[one] || one - other);
  }

  named(row) {
    return { id: this.catalogue.anime_id[row], title: this.catalogue.title[row] || `Anime ${this.catalogue.anime_id[row]}` };
  }

  describe(row) {
    const { english, years, episodes, facets } = this.catalogue;
    const one = ({ values, of }) => of[row] < 0 ? "" : values[of[row]];
    const many = ({ values, of }) => of[row].map((place) => values[place]);
    return {
      ...this.named(row),
      english: english[row],
      years: years[row],
      episodes: episodes[row],
      type: one(facets.types),
      age_rating: one(facets.age_ratings),
      genres: many(facets.genres),
      studios: many(facets.studios),
    };
  }

  shared(column, row, other) {
    const { values, of } = this.catalogue.facets[column];
    return of[other].filter((place) => of[row].includes(place)).map((place) => values[place]);
  }
}

/** The values of a column, `{value, adult}`, of which most anime are first; adult: of no other anime. */
function byUse({ values, of }, adult) {
  const count = values.map(() => 0), forAll = values.map(() => 0);
  of.forEach((own, row) => {
    for (const place of [own].flat()) {
      if (place < 0) continue;
      count[place]++;
      if (!adult[row]) forAll[place]++;
    }
  });
  const order = values.map((_, at) => at).sort((one, other) => count[other] - count[one]);
  return order.map((at) => ({ value: values[at], adult: !forAll[at] }));
}
