/**
 * What the page says where all is not well, and how old its data is: loading, empty, locked, an
 * error, a lost server, a silent market.
 */

import { byId, make, say } from "./dom.js";
import { age as ageText } from "./format.js";
import { text } from "./i18n.js";
import { clockTime, zoneName } from "./zone.js";

const LOST_AFTER_MS = 4000;
const SILENT_AFTER_MS = 30_000;

/** @typedef {import("./source.js").Failure} Failure */

export class States {
  /**
   * @param {import("../chart/view.js").Chart} chart
   * @param {{retry: () => void, leave: () => void}} acts  ask once more; show what the server chooses
   */
  constructor(chart, acts) {
    this.chart = chart;
    this.acts = acts;
    /** @type {any | null} */
    this.answer = null;
    this.answeredAt = 0;
    this.answeredWallMs = 0;
    /** @type {Failure | null} */
    this.failure = null;
    byId("retry").addEventListener("click", () => {
      if (this.failure?.kind === "refused") acts.leave();
      else acts.retry();
    });
    setInterval(() => this.tick(), 500);
  }

  /** @param {any} answer */
  heard(answer) {
    this.answer = answer;
    this.answeredAt = performance.now();
    this.answeredWallMs = Date.now();
    this.failure = null;
    this.#showPhase();
    this.tick();
  }

  /** @param {Failure} failure */
  failed(failure) {
    this.failure = failure;
    if (failure.kind !== "lost") this.answer = null;
    this.#showPhase();
    this.tick();
  }

  /** Say everything anew, in the present language. */
  relabel() {
    this.#showPhase();
    this.tick();
  }

  get reason() {
    return this.failure?.text || text("phase.noAnswer");
  }

  /** The venue's clock as it goes on since the last answer; null where it cannot be known. */
  venueNow() {
    if (this.answer === null || this.failure !== null) return null;
    const { clock, clockSpeed, state } = this.answer.meta;
    if (state === "finished") return null;
    return Date.parse(clock) + (performance.now() - this.answeredAt) * clockSpeed;
  }

  #phase() {
    const { answer, failure, chart } = this;
    if (failure?.kind === "locked") return "locked";
    if (answer !== null && chart.series.count > 0) return "chart";
    if (failure !== null) return "error";
    return answer === null ? "loading" : "empty";
  }

  #showPhase() {
    const phase = this.#phase();
    document.body.dataset.phase = phase;
    byId("retry").hidden = phase !== "error" && phase !== "locked";
    if (phase === "loading") say(byId("phase-title"), text("phase.loading"));
    else if (phase === "error") {
      say(byId("phase-title"), text("phase.error"));
      say(byId("phase-text"), this.reason);
      say(byId("retry"), text(this.failure?.kind === "refused" ? "phase.ownChart" : "phase.retry"));
    } else if (phase === "empty") {
      const { symbol, interval } = this.answer.meta;
      say(byId("phase-title"), text("phase.empty", { symbol, interval }));
      say(byId("phase-text"), text("phase.emptyHint", { symbol }));
    } else if (phase === "locked") {
      const hasPassword = this.failure?.hasPassword === true;
      say(byId("phase-title"), text("phase.locked"));
      say(byId("phase-text"), text(hasPassword ? "phase.passwordHint" : "phase.lockedHint"));
      say(byId("retry"), text("phase.retry"));
      if (hasPassword) this.#askPassword();
    }
    if (phase !== "locked") document.getElementById("unlock")?.remove();
  }

  /** A field for the password; the session's cookie comes with the answer. */
  #askPassword() {
    if (document.getElementById("unlock") !== null) return;
    const field = document.createElement("input");
    Object.assign(field, { type: "password", autocomplete: "current-password", required: true });
    const refusal = make("p", { className: "loss" });
    refusal.setAttribute("role", "alert");
    const label = make("label", { text: `${text("phase.password")} ` }, field);
    const form = make("form", {}, label, make("button", { text: text("phase.unlock") }), refusal);
    form.id = "unlock";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#logIn(field.value).then((error) => {
        say(refusal, error);
        if (error === "") this.acts.retry();
      });
    });
    byId("retry").before(form);
  }

  /**
   * @param {string} password
   * @returns {Promise<string>} why not; empty where the door is open
   */
  async #logIn(password) {
    try {
      const response = await fetch("/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ password }),
      });
      return response.ok ? "" : String((await response.json()).error);
    } catch {
      return text("phase.noAnswer");
    }
  }

  /** Update what changes with time alone: data age, staleness, countdown. */
  tick() {
    if (this.answer === null || document.hidden) return;
    const { meta } = this.answer;
    const sinceAnswer = performance.now() - this.answeredAt;
    const age = (meta.marketAgeMs ?? 0) + sinceAnswer;
    const isLost = this.failure !== null && sinceAnswer > LOST_AFTER_MS;
    const isEnded = meta.state === "finished";
    const isSilent = meta.marketAgeMs !== null && age > SILENT_AFTER_MS && !isEnded;
    const { zone } = this.chart;
    const time = clockTime(this.answeredWallMs - (isLost ? 0 : (meta.marketAgeMs ?? 0)), zone);
    document.body.toggleAttribute("data-stale", isLost || isSilent);
    const badge = byId("age");
    badge.toggleAttribute("data-stale", isLost || isSilent);
    if (isLost || isSilent) say(badge, text("age.stale", { time }));
    else if (isEnded) say(badge, text("age.finished"));
    else if (meta.marketAgeMs === null) say(badge, text("age.stored"));
    else say(badge, text("age.old", { age: ageText(age) }));
    this.#showBanner(meta, isLost, isSilent, time);
    if (this.chart.series.hasForming && meta.clockSpeed > 0) this.chart.draw();
  }

  /**
   * @param {any} meta
   * @param {boolean} isLost
   * @param {boolean} isSilent
   * @param {string} time
   */
  #showBanner(meta, isLost, isSilent, time) {
    const banner = byId("banner");
    let shown = meta.alert ?? "";
    const zone = zoneName(this.chart.zone);
    if (isLost) shown = text("banner.lost", { time, zone, reason: this.reason });
    else if (isSilent && shown === "") shown = text("banner.silent", { time, zone });
    banner.hidden = shown === "";
    banner.classList.toggle("bad", isLost || meta.state === "halted");
    say(banner, shown);
  }
}
