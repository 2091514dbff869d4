// Elements are made of texts and never of markup: no title and no file can put any into the page.

/** An element with properties, `data-…` and `aria-…` attributes among them, and children. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (property.includes("-")) made.setAttribute(property, value);
    else made[property] = value;
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** What has an id in page.html. */
export function byId(id) {
  return document.getElementById(id);
}
