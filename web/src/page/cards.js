// Anime as cards and as lines of a list.

import { element } from "./elements.js";

const NOT_WATCHED = "", WATCHED = "watched";
const HUES = 12;

/** A card of a ranked list; deeds: `{alike, hide, rate}`, functions of the anime. */
export function card(anime, place, deeds, rating) {
  const title = `card-${anime.id}`;
  return element(
    "li",
    { className: "card", "data-id": anime.id, "data-score": anime.score, "data-rating": anime.rating },
    spine(anime, place),
    element(
      "div",
      { className: "body" },
      element("div", { className: "head" }, heading(anime, title), predicted(anime.rating)),
      facts(anime),
      reasons(anime.reasons),
      element(
        "div",
        { className: "deeds" },
        button("alike", "More like this", title, () => deeds.alike(anime)),
        button("hide", "Not for me", title, () => deeds.hide(anime)),
        ratingOf(anime, rating, deeds.rate),
      ),
    ),
  );
}

/** A card of what is like an anime. */
export function alikeCard(anime, place, alike) {
  const title = `alike-${anime.id}`;
  const common = [...anime.genres_shared, ...anime.studios_shared.map((studio) => `by ${studio}`)];
  if (anime.watched_together) common.push("watched by the same people");
  return element(
    "li",
    { className: "card", "data-id": anime.id, "data-score": anime.score },
    spine(anime, place),
    element(
      "div",
      { className: "body" },
      element("div", { className: "head" }, heading(anime, title)),
      facts(anime),
      common.length ? element("p", { className: "common" }, `In common: ${common.join(", ")}`) : null,
      element("div", { className: "deeds" }, button("alike", "More like this", title, () => alike(anime))),
    ),
  );
}

/** A line with a title and its rating, as of what was found or watched. */
export function line(anime, rating, rate) {
  return element(
    "li",
    { "data-id": anime.id },
    element(
      "div",
      { className: "name" },
      element("span", {}, anime.title),
      element("span", { className: "hint" }, [anime.english, anime.type, yearsOf(anime)].filter(Boolean).join(" · ")),
    ),
    ratingOf(anime, rating, rate),
  );
}

/** Where somebody says how they liked an anime: a number, null for watched, undefined for neither. */
function ratingOf(anime, rating, rate) {
  const marks = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1];
  if (rating && !marks.includes(rating)) marks.unshift(rating);
  const choices = [
    [NOT_WATCHED, rating === undefined ? "Seen it?" : "Not seen"],
    [WATCHED, "Seen"],
    ...marks.map((mark) => [String(mark), `Seen: ${mark}`]),
  ];
  const select = element(
    "select",
    { className: "rate", "aria-label": `Your rating of ${anime.title}` },
    ...choices.map(([value, text]) => element("option", { value }, text)),
  );
  select.value = rating === undefined ? NOT_WATCHED : rating === null ? WATCHED : String(rating);
  // By keys one passes what lies between: only what stands there at the end is said.
  let byKeys = false, said = select.value;
  const say = () => {
    const { value } = select;
    if (value === said) return;
    said = value;
    rate(anime, value === NOT_WATCHED ? undefined : value === WATCHED ? null : Number(value));
  };
  select.addEventListener("pointerdown", () => { byKeys = false; });
  select.addEventListener("keydown", ({ key }) => {
    byKeys = key !== "Enter";
    if (!byKeys) say();
  });
  select.addEventListener("change", () => { if (!byKeys) say(); });
  select.addEventListener("blur", say);
  return select;
}

function spine(anime, place) {
  const genre = anime.genres[0] ?? "";
  const hue = [...genre].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % HUES;
  return element(
    "div",
    { className: "spine", "aria-hidden": "true", "data-hue": genre ? hue : "none" },
    element("b", {}, String(place)),
    element("span", {}, anime.type || "Anime"),
    element("span", {}, anime.years[0] ? String(anime.years[0]) : ""),
  );
}

function heading(anime, id) {
  return element(
    "h3",
    {},
    element("span", { id }, anime.title),
    anime.english ? element("span", { className: "english" }, anime.english) : null,
  );
}

function predicted(rating) {
  return element(
    "p",
    { className: "predicted" },
    element("b", {}, rating.toFixed(1)),
    " ",
    element("span", {}, "predicted"),
    element("span", { className: "unseen" }, " rating of 10"),
  );
}

function facts(anime) {
  const told = [anime.type, yearsOf(anime), episodesOf(anime), ...anime.genres].filter(Boolean);
  return element("p", { className: "facts" }, told.join(" · "));
}

function yearsOf({ years: [first, last] }) {
  if (!first) return "";
  return first === last ? String(first) : `${first}–${last || ""}`;
}

function episodesOf({ episodes }) {
  return episodes ? `${episodes} ${episodes === 1 ? "episode" : "episodes"}` : "";
}

/** A sentence: because you rated A 7, B 8, watched C, of your taste in D. */
function reasons(given) {
  if (!given.length) return null;
  const told = element("p", { className: "reasons" }, "Because ");
  let before;
  given.forEach((reason, at) => {
    const kind = reason.genre ? "of your taste in " : reason.rating === null ? "you watched " : "you rated ";
    const mark = !reason.genre && reason.rating !== null ? ` ${reason.rating}` : "";
    told.append(
      at ? ", " : "",
      kind === before ? "" : kind,
      element("span", { "data-contribution": reason.contribution }, element("b", {}, reason.genre ?? reason.title), mark),
    );
    before = kind;
  });
  return told;
}

function button(name, text, title, pressed) {
  const made = element("button", { type: "button", className: name, "aria-describedby": title }, text);
  made.addEventListener("click", pressed);
  return made;
}
