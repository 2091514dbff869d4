// The form of filters, made of the values that the catalogue has; fields as in docs/filters.md.

import { element } from "./elements.js";

/** The form's fields in `form`; changed: called when what is asked for may be another. */
export class Filters {
  constructor(form, { values, years: [first, last], episodes }, changed) {
    this.form = form;
    form.append(
      chips("Type", "types", values.types),
      chips("Genres", "genres", values.genres, match()),
      more("Without genres", chips("None of these genres", "without", values.genres)),
      range("Years", "years", first, last),
      range("Episodes", "episodes", 1, episodes),
      choice("Studio", "studios", values.studios),
      choice("Source", "sources", values.sources),
      more("Age ratings", chips("Any of these age ratings", "age_ratings", values.age_ratings)),
      tick("planned", "Only what I plan to watch"),
      tick("adult", "Titles for adults too"),
      element("button", { type: "reset", className: "quiet" }, "Clear the filters"),
    );
    form.addEventListener("input", changed);
    form.addEventListener("reset", () => setTimeout(changed)); // once it is reset
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** `filter` and `adult` as the worker takes them; without_ids: those hidden; planned: ids. */
  asked(hidden, planned) {
    const { form } = this, genres = this.ticked("genres");
    const all = form.elements.match.value === "all";
    return {
      filter: {
        types: { any: this.ticked("types") },
        genres: { any: all ? [] : genres, all: all ? genres : [], none: this.ticked("without") },
        studios: { any: this.chosen("studios") },
        sources: { any: this.chosen("sources") },
        age_ratings: { any: this.ticked("age_ratings") },
        years: this.ends("years"),
        episodes: this.ends("episodes"),
        without_ids: hidden,
        only_ids: form.elements.planned.checked ? planned : null,
      },
      adult: form.elements.adult.checked,
    };
  }

  /** How many of the fields say something. */
  get count() {
    const lists = ["types", "genres", "without", "age_ratings"].filter((name) => this.ticked(name).length);
    const choices = ["studios", "sources"].filter((name) => this.chosen(name).length);
    const ends = ["years", "episodes"].filter((name) => Object.values(this.ends(name)).some((end) => end !== null));
    const ticks = ["planned", "adult"].filter((name) => this.form.elements[name].checked);
    return lists.length + choices.length + ends.length + ticks.length;
  }

  ticked(name) {
    return [...this.form.querySelectorAll(`input[name=${name}]:checked`)].filter((box) => this.isShown(box)).map(({ value }) => value);
  }

  chosen(name) {
    const [option] = this.form.elements[name].selectedOptions;
    return option.value && this.isShown(option) ? [option.value] : [];
  }

  /** Values that only titles for adults have are shown where such titles are. */
  isShown(of) {
    return this.form.elements.adult.checked || !of.closest(".grown");
  }

  ends(name) {
    const end = (which) => {
      const number = this.form.elements[`${name}-${which}`].valueAsNumber;
      return Number.isFinite(number) ? Math.trunc(number) : null;
    };
    return { min: end("min"), max: end("max") };
  }
}

function chips(legend, name, values, before = null) {
  const boxes = values.map(({ value, adult }) =>
    element("label", { className: adult ? "chip grown" : "chip" }, element("input", { type: "checkbox", name, value }), element("span", {}, value))
  );
  return element("fieldset", {}, element("legend", {}, legend), before, element("div", { className: "chips" }, ...boxes));
}

function match() {
  const radio = (value, text, checked) =>
    element("label", { className: "tick" }, element("input", { type: "radio", name: "match", value, checked, defaultChecked: checked }), element("span", {}, text));
  return element("div", { className: "match" }, radio("any", "any of them", true), radio("all", "all of them", false));
}

function range(legend, name, least, most) {
  const end = (which, text, placeholder) =>
    element("label", {}, element("span", {}, text), element("input", { type: "number", name: `${name}-${which}`, min: least, max: most, placeholder, inputMode: "numeric" }));
  return element("fieldset", { className: "range" }, element("legend", {}, legend), element("div", {}, end("min", "from", least), end("max", "to", most)));
}

function choice(text, name, values) {
  const options = values.map(({ value, adult }) => element("option", { value, className: adult ? "grown" : "" }, value));
  return element("label", { className: "field" }, element("span", {}, text), element("select", { name }, element("option", { value: "" }, "Any"), ...options));
}

function tick(name, text) {
  return element("label", { className: "tick" }, element("input", { type: "checkbox", name }), element("span", {}, text));
}

function more(summary, ...inside) {
  return element("details", { className: "more" }, element("summary", {}, summary), ...inside);
}
