// Which anime pass a filter: fields and meaning are those of docs/filters.md.

const COLUMNS = ["genres", "types", "studios", "sources", "age_ratings"];
const NO_END = 32767; // of what is still on the air

/**
 * A test of a row of the catalogue.
 *
 * filter: by column `{any, all, none}`, lists of values, each optional; `years` and `episodes`
 * `{min, max}`; `without_ids`, and `only_ids` or null, as sets.
 */
export function passing(catalogue, filter) {
  const tests = COLUMNS.filter((column) => filter[column]).flatMap((column) =>
    listTests(catalogue.facets[column], filter[column])
  );
  const { min, max } = filter.years ?? {};
  if (isGiven(min) || isGiven(max)) {
    tests.push((row) => {
      const [first, last] = catalogue.years[row];
      return within(first, first && !last ? NO_END : last, min, max);
    });
  }
  const episodes = filter.episodes ?? {};
  if (isGiven(episodes.min) || isGiven(episodes.max)) {
    tests.push((row) => within(catalogue.episodes[row], catalogue.episodes[row], episodes.min, episodes.max));
  }
  if (filter.only_ids) tests.push((row) => filter.only_ids.has(catalogue.anime_id[row]));
  if (filter.without_ids?.size) tests.push((row) => !filter.without_ids.has(catalogue.anime_id[row]));
  return (row) => tests.every((test) => test(row));
}

function listTests({ values, of }, { any = [], all = [], none = [] }) {
  const places = (names) => names.map((name) => values.indexOf(name));
  const has = (row, place) => Array.isArray(of[row]) ? of[row].includes(place) : of[row] === place;
  const tests = [];
  const [some, every, without] = [places(any), places(all), places(none)];
  if (some.length) tests.push((row) => some.some((place) => has(row, place)));
  if (every.length) tests.push((row) => every.every((place) => has(row, place)));
  if (without.length) tests.push((row) => !without.some((place) => has(row, place)));
  return tests;
}

function isGiven(end) {
  return end !== null && end !== undefined;
}

/** Whether numbers from first to last, 0 where they are not known, have one within the ends. */
function within(first, last, min, max) {
  return first > 0 && (!isGiven(min) || last >= min) && (!isGiven(max) || first <= max);
}
