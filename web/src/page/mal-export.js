// A person's own list, as MyAnimeList exports it: XML, or gzip of it. What is read and what is
// refused is that of handlers/forms/mal_export.py.

const MiB = 2 ** 20, MOST_PACKED = 8 * MiB, MOST_BYTES = 32 * MiB, MOST_ELEMENTS = 750_000;
const PLANNED = "Plan to Watch", STATUSES = ["Watching", "Completed", "On-Hold", "Dropped", PLANNED];
const ID = "series_animedb_id", SCORE = "my_score", STATUS = "my_status", TIMES = "my_times_watched";
const LONGEST = 40; // characters of a wrong value that are shown

/** A file is no list; the message says why, in a line. */
export class MalExportError extends Error {}

/** The list in a file: `{id, rating, planned}` of each anime once, rating null where there is none. */
export async function readMalExport(file) {
  try {
    return entriesOf(await textOf(file));
  } catch (error) {
    if (!(error instanceof MalExportError)) throw error;
    throw new MalExportError(`${shortened(file.name)}: ${error.message}`);
  }
}

async function textOf(file) {
  if (!file.size) throw new MalExportError("is empty, should be a list that MyAnimeList exported");
  const [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  if (packed && file.size > MOST_PACKED) throw new MalExportError("has more than 8 MiB of gzip");
  const stream = packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  const bytes = await bounded(stream, packed);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch { /* as what follows */ }
  throw new MalExportError("is not text in UTF-8, as MyAnimeList writes it");
}

/** The bytes of a stream, of which no more are unpacked than a list may have. */
async function bounded(stream, packed) {
  const parts = [], reader = stream.getReader();
  for (let size = 0; ;) {
    let part;
    try {
      part = await reader.read();
    } catch {
      throw new MalExportError(packed ? "is damaged gzip, or ends in the middle of it" : "could not be read");
    }
    if (part.done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    size += part.value.length;
    if (size > MOST_BYTES) {
      await reader.cancel().catch(() => {});
      throw new MalExportError("has more than 32 MiB of XML");
    }
    parts.push(part.value);
  }
}

function entriesOf(text) {
  if (declaresType(text)) {
    throw new MalExportError("declares a document type or entities, which no list of MyAnimeList does");
  }
  let elements = 0;
  for (let at = text.indexOf("<"); at >= 0; at = text.indexOf("<", at + 1)) {
    if (!"/!?".includes(text[at + 1]) && ++elements > MOST_ELEMENTS) {
      throw new MalExportError("has more than 750,000 elements");
    }
  }
  const { documentElement: root } = new DOMParser().parseFromString(text, "text/xml");
  const wrong = root.ownerDocument.getElementsByTagName("parsererror")[0];
  if (wrong) {
    const line = /line (\d+)/.exec(wrong.textContent);
    throw new MalExportError(`is not XML${line ? ` on line ${line[1]}` : ""}, should be a list that MyAnimeList exported`);
  }
  if (root.tagName !== "myanimelist") {
    throw new MalExportError(`is '${shortened(root.tagName)}', should be 'myanimelist', a list of MyAnimeList`);
  }
  const found = new Map();
  let count = 0;
  for (const each of root.children) {
    if (each.tagName === "manga") throw new MalExportError("is a list of manga, should be one of anime");
    if (each.tagName !== "anime") continue;
    const entry = entryOf(each, ++count);
    if (!found.has(entry.id)) found.set(entry.id, entry);
  }
  return [...found.values()];
}

/** Whether a document type stands before the root; only there can one stand. */
function declaresType(text) {
  for (let at = 0; ;) {
    while (" \t\r\n".includes(text[at])) at++;
    const end = text.startsWith("<?", at) ? "?>" : text.startsWith("<!--", at) ? "-->" : "";
    if (!end) return text.startsWith("<!DOCTYPE", at);
    const found = text.indexOf(end, at + 2);
    if (found < 0) return false;
    at = found + end.length;
  }
}

function entryOf(anime, count) {
  const fields = {};
  for (const field of anime.children) {
    if (field.children.length) {
      throw new MalExportError(`'${shortened(field.children[0].tagName)}' is nested deeper than anything in a list of MyAnimeList`);
    }
    fields[field.tagName] = field.textContent.trim();
  }
  const { [ID]: id = "", [SCORE]: score = "0", [STATUS]: status = "", [TIMES]: times = "0" } = fields;
  if (!/^\d{1,9}$/.test(id) || !Number(id)) {
    throw new MalExportError(`${ID} of entry ${count} is '${shortened(id)}', should be an id`);
  }
  const rating = Number(score);
  if (!/^\d{1,2}(\.\d{1,9})?$/.test(score) || (rating !== 0 && (rating < 1 || rating > 10))) {
    throw new MalExportError(`${SCORE} of anime ${id} is '${shortened(score)}', should be 1 to 10, or 0 for none`);
  }
  if (!STATUSES.includes(status)) {
    throw new MalExportError(`${STATUS} of anime ${id} is '${shortened(status)}', should be one of ${STATUSES.join(", ")}`);
  }
  if (!/^\d{1,9}$/.test(times)) {
    throw new MalExportError(`${TIMES} of anime ${id} is '${shortened(times)}', should be a count`);
  }
  return { id: Number(id), rating: rating || null, planned: status === PLANNED };
}

function shortened(text) {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
