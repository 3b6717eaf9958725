/**
 * The columns of a report: numbers in base64, as the machine that made it wrote them.
 */

/**
 * @param {string} text  little-endian float64 or float32 values in base64
 * @param {Float64ArrayConstructor | Float32ArrayConstructor} type
 */
function numbers(text, type) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  return new type(bytes.buffer);
}

/**
 * Columns by name; a name that ends in 64 holds float64, without the 64 afterwards.
 * @param {Record<string, string>} texts
 * @returns {Record<string, Float64Array | Float32Array>}
 */
export function columns(texts) {
  /** @type {Record<string, Float64Array | Float32Array>} */
  const found = {};
  for (const [name, text] of Object.entries(texts)) {
    const isDouble = name.endsWith("64");
    const plain = isDouble ? name.slice(0, -2) : name;
    found[plain] = numbers(text, isDouble ? Float64Array : Float32Array);
  }
  return found;
}

/**
 * The first place of sorted `times` at or after `ms`; their count where there is none.
 * @param {ArrayLike<number>} times
 * @param {number} ms
 */
export function placeOf(times, ms) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The last place of sorted `times` at or before `ms`; 0 where there is none.
 * @param {ArrayLike<number>} times
 * @param {number} ms
 */
export function placeBefore(times, ms) {
  const place = placeOf(times, ms);
  return place < times.length && times[place] === ms ? place : Math.max(0, place - 1);
}
