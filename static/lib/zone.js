/** Times as the clocks of the shown zone have them: UTC, or where the browser is. */

import { zoneOffset } from "../chart/scale.js";
import { openTime, secondOfDay } from "./format.js";
import { choice, store } from "./settings.js";

export const ZONES = /** @type {const} */ (["UTC", "browser"]);

export const browserZone = () => new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The zone that was chosen in an earlier visit, as an IANA name. */
export const storedZone = () => (choice("zone", ZONES) === "UTC" ? "UTC" : browserZone());

/** @param {string} zone  an IANA name */
export function storeZone(zone) {
  store("zone", zone === "UTC" ? "UTC" : "browser");
}

/** How a zone is named on the page: `New York` for America/New_York. @param {string} zone */
export const zoneName = (zone) => zone.slice(zone.lastIndexOf("/") + 1).replaceAll("_", " ");

/**
 * The open time of a candle, without the name of the zone.
 * @param {import("../chart/view.js").Chart} chart
 * @param {number} i
 */
export function candleTime({ series, shownZone }, i) {
  const ms = series.openMs[i];
  return openTime(ms + zoneOffset(ms, shownZone), series.intervalMs);
}

/**
 * @param {number} ms
 * @param {string} zone
 */
export const clockTime = (ms, zone) => secondOfDay(ms + zoneOffset(ms, zone));

/**
 * Day and time, to the minute.
 * @param {number} ms
 * @param {string} zone
 */
export const dayAndTime = (ms, zone) => openTime(ms + zoneOffset(ms, zone), 60_000);
