// Builds the page: node build.mjs LIGHT OUT
//
// LIGHT: the folder `light/` of a bundle; OUT: where to, a folder that is made anew. Names in assets/
// carry a hash of what is in them. Beside each large file stands the same as gzip, for servers that
// send what is packed already.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { build } from "esbuild";

const HERE = import.meta.dirname, MODEL = ["ranker.onnx", "catalogue.json"];
const SMALL = 1024; // bytes that are not worth packing
const [light, out] = process.argv.slice(2).map((folder) => resolve(folder));
if (!light || !out) {
  console.error("give the folder light/ of a bundle, and a folder to build into");
  process.exit(2);
}

/** Bundle one file into assets/; its path there. */
async function bundled(file, define = {}) {
  const { metafile } = await build({
    entryPoints: [join(HERE, "src", file)],
    outdir: join(out, "assets"),
    entryNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    loader: { ".wasm": "file" },
    define,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "linked",
    metafile: true,
    absWorkingDir: HERE,
  });
  const made = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint);
  return `assets/${basename(made[0])}`;
}

/** Every file below a folder, by its path from there. */
async function files(folder) {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((each) => each.isFile()).map((each) => relative(folder, join(each.parentPath, each.name))).sort();
}

for (const name of MODEL) {
  if (existsSync(join(light, name))) continue;
  console.error(`${light}: has no ${name}; anirank export --light writes it`);
  process.exit(2);
}
await rm(out, { recursive: true, force: true });
await mkdir(join(out, "light"), { recursive: true });
for (const name of MODEL) await cp(join(light, name), join(out, "light", name));
await cp(join(HERE, "static"), out, { recursive: true });

const worker = await bundled("worker/worker.js");
const page = await bundled("page/page.js", { WORKER: JSON.stringify(worker) });
const style = await bundled("page/page.css");
const html = await readFile(join(HERE, "src/page/page.html"), "utf8");
await writeFile(join(out, "index.html"), html.replace("PAGE_JS", page).replace("PAGE_CSS", style));

const kept = {};
for (const name of await files(out))
  if (!name.endsWith(".txt")) kept[name] = createHash("sha256").update(await readFile(join(out, name))).digest("hex");
const version = createHash("sha256").update(JSON.stringify(kept)).digest("hex").slice(0, 12);
await build({
  entryPoints: [join(HERE, "src/service-worker.js")],
  outfile: join(out, "service-worker.js"),
  define: { FILES: JSON.stringify(kept), VERSION: JSON.stringify(version) },
  bundle: true,
  minify: true,
  target: "es2022",
});

for (const name of await files(out)) {
  const content = await readFile(join(out, name));
  if (content.length > SMALL)
    await writeFile(join(out, `${name}.gz`), await promisify(gzip)(content, { level: 9 }));
}
console.log(`${out}: version ${version}, ${Object.keys(kept).length} files`);
