"use strict";
// Shows what /openapi.json lists, and asks it; nothing comes from anywhere else.

let description;

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function resolved(schema) {
  const path = schema && schema["$ref"];
  return path ? resolved(path.slice(2).split("/").reduce((of, key) => of[key], description)) : schema;
}

function typeOf(schema) {
  const found = resolved(schema);
  if (found.enum) return found.enum.join(", ");
  if (found.type === "array") return `list of ${typeOf(found.items)}`;
  return [found.type || "object"].flat().join(" or ");
}

function fieldsOf(schema, parent) {
  const found = resolved(schema);
  if (!found.properties) return;
  const list = element("dl", undefined, parent);
  for (const [name, field] of Object.entries(found.properties)) {
    element("dt", name, list);
    const said = field.description || resolved(field).description || "";
    element("dd", `${typeOf(field)}. ${said}`, list);
  }
}

function headersOf(accept, kind) {
  const headers = { accept };
  const token = document.getElementById("token").value.trim();
  if (token) headers.authorization = `Bearer ${token}`;
  if (kind) headers["content-type"] = kind;
  return headers;
}

async function ask(path, verb, inputs, body, kind, told) {
  told.className = "";
  told.textContent = "…";
  const query = new URLSearchParams();
  const headers = headersOf("application/json", kind);
  for (const { name, place, input } of inputs) {
    if (!input.value) continue;
    if (place === "header") headers[name] = input.value;
    else query.append(name, input.value);
  }
  const url = query.size ? `${path}?${query}` : path;
  try {
    const began = performance.now();
    const reply = await fetch(url, { method: verb.toUpperCase(), headers, body: body() });
    const text = await reply.text();
    const took = (performance.now() - began).toFixed(1);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* lines, or no JSON */ }
    told.className = reply.ok ? "" : "failed";
    told.textContent = `${reply.status} ${reply.statusText}, ${took} ms\n\n${shown}`;
  } catch (error) {
    told.className = "failed";
    told.textContent = String(error);
  }
}

function show(path, verb, operation, parent) {
  const box = element("details", undefined, parent);
  const summary = element("summary", undefined, box);
  element("b", verb.toUpperCase(), summary);
  element("code", path, summary);
  element("p", operation.summary, box);
  const inputs = (operation.parameters || []).map((parameter) => {
    const label = element("label", `${parameter.name} `, box);
    label.title = parameter.description || "";
    const input = element("input", undefined, label);
    input.name = parameter.name;
    return { name: parameter.name, place: parameter.in, input };
  });
  let body = () => undefined, kind;
  if (operation.requestBody) {
    const [media, content] = Object.entries(operation.requestBody.content)[0];
    kind = media;
    if (resolved(content.schema).format === "binary") {
      const file = element("input", undefined, element("label", "File ", box));
      file.type = "file";
      body = () => file.files[0];
    } else {
      const area = element("textarea", undefined, box);
      area.rows = 8;
      area.spellcheck = false;
      const example = content.example;
      area.value = typeof example === "string" ? example : JSON.stringify(example, null, 2);
      body = () => area.value;
      fieldsOf(content.schema, box);
    }
  }
  const told = document.createElement("pre");
  element("button", "Send", box).addEventListener("click", () =>
    ask(path, verb, inputs, body, kind, told));
  box.append(told);
}

async function begin() {
  description = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = description.info.description;
  const main = document.getElementById("operations");
  for (const [path, verbs] of Object.entries(description.paths))
    for (const [verb, operation] of Object.entries(verbs)) show(path, verb, operation, main);
}

begin();
