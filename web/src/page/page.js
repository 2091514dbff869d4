// What the visitor does, and what is shown of it.

import { alikeCard, card, line } from "./cards.js";
import { byId } from "./elements.js";
import { Filters } from "./filters.js";
import { MalExportError, readMalExport } from "./mal-export.js";
import { keepOffline } from "./offline.js";
import { Recommender } from "./recommender.js";
import { Shelf } from "./shelf.js";

const SHOWN = 20, FOUND = 12, ALIKE = 12; // cards at first and with each "more"; hits; what is alike
const WHILE_TYPING = 120; // milliseconds that nothing is asked for

const shelf = new Shelf(), loaded = {};
const recommender = new Recommender(({ name, bytes }) => {
  loaded[name] = bytes;
  const all = Object.values(loaded).reduce((sum, each) => sum + each, 0);
  byId("loaded").textContent = `${(all / 1e6).toFixed(1)} MB`;
});
let filters, shown = SHOWN, asked = 0;

/** What is shown, or computed now, is of before; gives the number of what comes after it. */
function outdate() {
  byId("cards").setAttribute("aria-busy", "true");
  return ++asked;
}

/** Ask for the list and show it; `began`: the mark of what it is asked for. */
async function refresh(began) {
  const own = outdate(), { history } = shelf;
  if (!filters) return;
  try {
    const { filter, adult } = filters.asked(shelf.hidden, shelf.planned);
    const list = await recommender.list({ history, order: byId("order").value, filter, adult, most: shown });
    if (own !== asked) return; // another has been asked for meanwhile
    showList(list, history);
    if (began) performance.measure("list", began);
  } catch (error) {
    if (own === asked) fail(`The list could not be computed: ${error.message}`);
  }
  if (own === asked) byId("cards").removeAttribute("aria-busy");
}

function showList({ total, unknown, anime }, history) {
  const cards = byId("cards"), focus = focusIn(cards);
  const deeds = { alike: showAlike, hide, rate };
  cards.replaceChildren(...anime.map((each, at) => card(each, at + 1, deeds, shelf.ratings.get(each.id))));
  focus(cards);
  byId("list-title").textContent = history.length ? "For you" : "Where many begin";
  byId("more").hidden = anime.length >= total;
  byId("unhide").hidden = !shelf.hidden.size;
  byId("unhide").textContent = `Bring back what you put aside (${shelf.hidden.size})`;
  const ranked = total === 1 ? "1 title" : `${total.toLocaleString("en")} titles`;
  const by = history.length ? `ranked by ${history.length - unknown} that you have watched` : "ranked for somebody of whom nothing is known yet; rate a few, or give a list";
  const outside = unknown ? `; ${unknown} of yours ${unknown === 1 ? "is" : "are"} not in this catalogue` : "";
  byId("said").textContent = total ? `${ranked}, ${by}${outside}.` : "No title passes these filters. Clear some of them.";
}

/** Remembers which control of a list has the focus; gives it to the one in its place later. */
function focusIn(list) {
  const own = document.activeElement?.closest("li");
  if (!own || own.parentElement !== list) return () => {};
  const { id } = own.dataset, at = [...list.children].indexOf(own), control = document.activeElement.className;
  return () => {
    const same = list.querySelector(`li[data-id="${id}"]`) ?? list.children[Math.min(at, list.children.length - 1)];
    (same?.querySelector(`.${control}`) ?? byId("list")).focus();
  };
}

async function showShelf() {
  const { ratings, planned } = shelf, rated = [...ratings.values()].filter((rating) => rating !== null).length;
  byId("shelf").hidden = !ratings.size && !planned.size;
  const also = planned.size ? `; ${planned.size} planned` : "";
  byId("counts").textContent = `${ratings.size} watched, ${rated} of them rated${also}.`;
  byId("remember").checked = shelf.remembered;
  if (!byId("watched-box").open || !filters) return;
  const anime = await recommender.describe([...ratings.keys()]), list = byId("watched"), focus = focusIn(list);
  list.replaceChildren(...anime.map((each) => line(each, ratings.get(each.id), rate)));
  focus();
}

function rate(anime, rating) {
  shelf.rate(anime.id, rating);
  changed();
}

function hide(anime) {
  shelf.hide(anime.id);
  refresh();
}

/** The visitor's list is another. */
function changed(began) {
  shown = SHOWN;
  showShelf();
  return refresh(began);
}

async function take(file) {
  performance.mark("file");
  outdate();
  fail("");
  try {
    const entries = await readMalExport(file);
    if (!entries.some(({ planned }) => !planned)) throw new MalExportError(`${file.name}: has no anime that was watched`);
    shelf.take(entries);
    await changed("file");
  } catch (error) {
    if (!(error instanceof MalExportError)) throw error;
    fail(error.message);
    refresh();
  }
}

function fail(message) {
  const failed = byId("failed");
  failed.hidden = !message;
  failed.textContent = message;
}

async function search() {
  if (!filters) return; // once it is there, this is asked again
  const text = byId("search").value, hits = byId("hits");
  const found = text.trim() ? await recommender.find({ text, most: FOUND }) : [];
  if (text !== byId("search").value) return;
  hits.replaceChildren(...found.map((each) => line(each, shelf.ratings.get(each.id), rate)));
  const count = found.length === 1 ? "1 title" : `${found.length}${found.length === FOUND ? " or more" : ""} titles`;
  byId("found").textContent = !text.trim() ? "" : found.length ? `${count} found` : `No title has “${text.trim()}”`;
}

async function showAlike(anime) {
  const dialog = byId("alike"), found = await recommender.similar({ id: anime.id, adult: filters.asked().adult, most: ALIKE });
  byId("alike-title").textContent = `More like ${anime.title}`;
  byId("alike-list").replaceChildren(...found.map((each, at) => alikeCard(each, at + 1, showAlike)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  byId("alike-title").focus();
}

/** The last of several calls, once no other has come for some time. */
function afterAPause(act) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, WHILE_TYPING);
  };
}

function listen() {
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files[0]) take(target.files[0]);
    target.value = ""; // so that the same file may be given again
  });
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer.files[0]) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  byId("search").addEventListener("input", afterAPause(search));
  byId("order").addEventListener("change", () => refresh());
  byId("more").addEventListener("click", () => {
    const first = shown;
    shown += SHOWN;
    refresh().then(() => byId("cards").children[first]?.querySelector("button").focus());
  });
  byId("unhide").addEventListener("click", () => {
    shelf.unhide();
    refresh().then(() => byId("list").focus());
  });
  byId("watched-box").addEventListener("toggle", showShelf);
  byId("remember").addEventListener("change", ({ target }) => {
    try {
      shelf.remember(target.checked);
    } catch {
      target.checked = shelf.remembered = false;
      fail("This browser keeps nothing for this page.");
    }
  });
  byId("forget").addEventListener("click", () => {
    shelf.forget();
    byId("search").value = "";
    search();
    fail("");
    changed();
  });
  byId("alike-close").addEventListener("click", () => byId("alike").close());
}

async function begin() {
  listen();
  showShelf();
  byId("filters-box").open = matchMedia("(min-width: 60rem)").matches;
  try {
    const described = await recommender.open();
    const refreshLater = afterAPause(() => refresh());
    filters = new Filters(byId("filters"), described, () => {
      byId("filters-count").textContent = filters.count ? `${filters.count} set` : "";
      shown = SHOWN;
      outdate();
      refreshLater();
    });
    byId("about").textContent = `Model ${described.name} ${described.version}, of ${described.anime.toLocaleString("en")} anime.`;
    byId("loading").hidden = true;
    search();
    await changed(performance.getEntriesByName("file").length ? "file" : undefined);
    await keepOffline();
  } catch (error) {
    byId("loading").hidden = true;
    byId("cards").removeAttribute("aria-busy");
    byId("said").textContent = "";
    fail(`The model could not be loaded: ${error.message}`);
  }
}

begin();
