/**
 * The answer of GET /history: a header in JSON, then columns of float64, little-endian.
 */

/**
 * @typedef {object} History
 * @property {any} header  what the server says of the rows
 * @property {{[name: string]: Float64Array}} columns  views of the answer's bytes
 * @property {{low: Float64Array, high: Float64Array, close: Float64Array} | null} overview
 */

/**
 * @param {ArrayBuffer} bytes
 * @returns {History}
 */
export function decodeHistory(bytes) {
  const length = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  let offset = 4 + length;
  const take = (/** @type {number} */ count) => {
    const column = new Float64Array(bytes, offset, count);
    offset += count * 8;
    return column;
  };
  /** @type {History["columns"]} */
  const columns = {};
  for (const name of header.columns) columns[name] = take(header.count);
  const { buckets } = header;
  const overview = buckets ? { low: take(buckets), high: take(buckets), close: take(buckets) } : null;
  return { header, columns, overview };
}
