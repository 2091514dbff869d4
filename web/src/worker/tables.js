// The named tables of an ONNX file, read without a library: of the format of protocol buffers, which
// tag and length begin each field of, no more than what a tensor needs.
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto has the numbers.

const GRAPH = 7, INITIALIZER = 5; // of a model, of a graph
const DIMS = 1, DATA_TYPE = 2, NAME = 8, RAW_DATA = 9; // of a tensor
const VARINT = 0, EIGHT_BYTES = 1, BYTES = 2, FOUR_BYTES = 5; // how a field is written
const TYPES = {
  1: Float32Array,
  2: Uint8Array,
  3: Int8Array,
  5: Int16Array,
  6: Int32Array,
  11: Float64Array,
};

/** A table: `values` in C order, a typed array; `columns`: how many stand in a row. */
export class Table {
  constructor(values, dims) {
    this.values = values;
    this.columns = dims.length > 1 ? dims[1] : 1;
  }

  /** Values a row has of its own, as the array's own type. */
  row(at) {
    return this.values.subarray(at * this.columns, (at + 1) * this.columns);
  }
}

/** The tables of these names in the bytes of a file; throws where one is not there. */
export function readTables(bytes, names) {
  const wanted = new Set(names), found = {};
  for (const [field, graph] of fields(bytes, 0, bytes.length)) {
    if (field !== GRAPH) continue;
    for (const [inner, tensor] of fields(bytes, ...graph)) {
      if (inner !== INITIALIZER) continue;
      const { name, dims, type, raw } = tensorOf(bytes, tensor);
      if (!wanted.has(name) || !raw || !TYPES[type]) continue;
      // A copy, since numbers of several bytes may begin anywhere in a file.
      const own = bytes.slice(...raw);
      found[name] = new Table(new TYPES[type](own.buffer), dims);
    }
  }
  const missing = names.filter((name) => !found[name]);
  if (missing.length) throw new Error(`ranker.onnx has no table ${missing[0]}`);
  return found;
}

function tensorOf(bytes, [begin, end]) {
  const tensor = { name: "", dims: [], type: 0, raw: null };
  for (const [field, value] of fields(bytes, begin, end)) {
    if (field === DIMS && Array.isArray(value)) {
      for (let at = value[0]; at < value[1];) {
        const [size, next] = varint(bytes, at);
        tensor.dims.push(size);
        at = next;
      }
    } else if (field === DIMS) tensor.dims.push(value);
    else if (field === DATA_TYPE) tensor.type = value;
    else if (field === NAME) tensor.name = new TextDecoder().decode(bytes.subarray(...value));
    else if (field === RAW_DATA) tensor.raw = value;
  }
  return tensor;
}

/** Number and value of each field: an integer, or where its bytes begin and end. */
function* fields(bytes, begin, end) {
  for (let at = begin; at < end;) {
    const [tag, after] = varint(bytes, at);
    const written = tag & 7, field = Math.floor(tag / 8);
    if (written === VARINT) {
      const [value, next] = varint(bytes, after);
      yield [field, value];
      at = next;
    } else if (written === BYTES) {
      const [length, from] = varint(bytes, after);
      yield [field, [from, from + length]];
      at = from + length;
    } else if (written === EIGHT_BYTES) at = after + 8;
    else if (written === FOUR_BYTES) at = after + 4;
    else throw new Error("ranker.onnx is damaged");
  }
}

/** An integer below 2^53, and where what follows it begins. */
function varint(bytes, at) {
  let value = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[at++];
    if (byte === undefined) throw new Error("ranker.onnx is cut off");
    value += (byte & 127) * scale;
    if (byte < 128) return [value, at];
  }
}
