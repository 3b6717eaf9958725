/**
 * Mouse, wheel, touch and keys, turned into moves of the chart. What a drag or a pinch does, a
 * key and a button do as well.
 */

const LONG_PRESS_MS = 350;
const TAP_SLOP_PX = 6;
const WHEEL_ZOOM = 0.0015;
const KEY_ZOOM = 1.25;
const KEY_PAN_SHARE = 0.1;
const AXIS_DRAG = 0.006;

/**
 * What is listened for. A chart without a price axis of its own leaves out the last ones.
 * @typedef {object} Chart
 * @property {number} plotWidth  CSS pixels, left of the price axis
 * @property {{first?: number, last: number}} series
 * @property {() => number} zoomCentre
 * @property {(x: number, factor: number) => void} zoomAt
 * @property {(pixels: number) => void} panBy
 * @property {(x: number, y: number) => void} point
 * @property {() => void} unpoint
 * @property {(candles: number) => void} step
 * @property {(index: number) => void} pointAt
 * @property {() => number} crosshairIndex
 * @property {() => void} fit
 * @property {() => void} goLive
 * @property {() => void} reset
 * @property {(y: number) => {name: string} | null} [paneAt]
 * @property {(pane: string, factor: number) => void} [scaleBy]
 * @property {(pane: string, pixels: number) => void} [shiftBy]
 * @property {(pane: string) => void} [resetScale]
 * @property {string} [keyPane]  which keys scale; without, the price's
 * @property {boolean} [isLog]
 * @property {(isLog: boolean) => void} [setLog]
 * @property {() => void} [goFirst]
 */

/**
 * Zoom one step in (1) or out (-1), as a key or a button does.
 * @param {Chart} chart
 * @param {1 | -1} direction
 */
export function zoomStep(chart, direction) {
  chart.zoomAt(chart.zoomCentre(), direction > 0 ? KEY_ZOOM : 1 / KEY_ZOOM);
}

/**
 * Scroll one step to older (1) or newer (-1) candles.
 * @param {Chart} chart
 * @param {1 | -1} direction
 */
export function panStep(chart, direction) {
  chart.panBy(direction * chart.plotWidth * KEY_PAN_SHARE);
}

/**
 * @param {HTMLElement} box
 * @param {Chart} chart
 * @param {(index: number) => void} onKeyedCandle  a key moved the crosshair there
 */
export function listen(box, chart, onKeyedCandle) {
  new Pointers(box, chart);
  box.addEventListener("wheel", (event) => onWheel(event, box, chart), { passive: false });
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isControl(event)) return;
    const act = actionOf(event.key, event.shiftKey);
    if (act === undefined) return;
    event.preventDefault();
    act(chart);
    const index = chart.crosshairIndex();
    if (index >= 0 && SPEAKING.has(event.key)) onKeyedCandle(index);
  });
  box.addEventListener("blur", () => chart.unpoint());
}

/**
 * Whether it is meant for a button or field that lies over the chart.
 * @param {Event} event
 */
export function isControl(event) {
  return /** @type {Element} */ (event.target).closest("button, form") !== null;
}

const SPEAKING = new Set(["ArrowLeft", "ArrowRight", "Home", "End"]);

/**
 * @param {string} key
 * @param {boolean} isShift
 * @returns {((chart: Chart) => void) | undefined}
 */
function actionOf(key, isShift) {
  switch (key) {
    case "ArrowLeft":
      return isShift ? (chart) => panStep(chart, 1) : (chart) => chart.step(-1);
    case "ArrowRight":
      return isShift ? (chart) => panStep(chart, -1) : (chart) => chart.step(1);
    case "PageUp":
      return (chart) => chart.panBy(chart.plotWidth * 0.9);
    case "PageDown":
      return (chart) => chart.panBy(-chart.plotWidth * 0.9);
    case "ArrowUp":
      if (isShift) return (chart) => chart.scaleBy?.(chart.keyPane ?? "price", KEY_ZOOM);
      return (chart) => zoomStep(chart, 1);
    case "ArrowDown":
      if (isShift) return (chart) => chart.scaleBy?.(chart.keyPane ?? "price", 1 / KEY_ZOOM);
      return (chart) => zoomStep(chart, -1);
    case "+":
    case "=":
      return (chart) => zoomStep(chart, 1);
    case "-":
    case "_":
      return (chart) => zoomStep(chart, -1);
    case "Home":
      return (chart) => {
        chart.pointAt(chart.series.first ?? 0);
        chart.goFirst?.();
      };
    case "a":
    case "A":
      return (chart) => chart.resetScale?.(chart.keyPane ?? "price");
    case "g":
    case "G":
      return (chart) => chart.setLog?.(!chart.isLog);
    case "End":
      return (chart) => {
        chart.goLive();
        chart.pointAt(chart.series.last);
      };
    case "f":
    case "F":
      return (chart) => chart.fit();
    case "l":
    case "L":
      return (chart) => chart.goLive();
    case "Escape":
      return (chart) => chart.unpoint();
    default:
      return undefined;
  }
}

/**
 * @param {WheelEvent} event
 * @param {HTMLElement} box
 * @param {Chart} chart
 */
function onWheel(event, box, chart) {
  event.preventDefault();
  const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 16;
  const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  if (isSideways) {
    chart.panBy(-(event.deltaX || event.deltaY) * unit);
    return;
  }
  const rect = box.getBoundingClientRect();
  const pane = chart.paneAt?.(event.clientY - rect.top);
  if (pane && event.clientX - rect.left > chart.plotWidth) {
    chart.scaleBy?.(pane.name, Math.exp(-event.deltaY * unit * WHEEL_ZOOM));
    return;
  }
  const x = Math.min(event.clientX - rect.left, chart.plotWidth);
  // A pinch on a touchpad arrives as a wheel with Ctrl and small steps.
  const strength = WHEEL_ZOOM * (event.ctrlKey ? 6 : 1);
  chart.zoomAt(x, Math.exp(-Math.max(-300, Math.min(300, event.deltaY * unit)) * strength));
}

/** One pointer pans, two pinch; a mouse hovers, a long press of a finger shows the crosshair. */
class Pointers {
  /**
   * @param {HTMLElement} box
   * @param {Chart} chart
   */
  constructor(box, chart) {
    this.box = box;
    this.chart = chart;
    /** @type {Map<number, {x: number, y: number}>} */
    this.down = new Map();
    this.isPointing = false;
    this.hasMoved = false;
    this.pressTimer = 0;
    /** The pane in which the drag began, and whether on its axis. @type {string | null} */
    this.pane = null;
    this.isOnAxis = false;
    box.addEventListener("pointerdown", (event) => this.#onDown(event));
    box.addEventListener("pointermove", (event) => this.#onMove(event));
    box.addEventListener("pointerup", (event) => this.#onUp(event));
    box.addEventListener("pointercancel", (event) => this.#onUp(event));
    box.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse" && this.down.size === 0) chart.unpoint();
    });
    box.addEventListener("dblclick", (event) => {
      const { x, y } = this.#at(event);
      const pane = chart.paneAt?.(y);
      if (pane && x > chart.plotWidth) chart.resetScale?.(pane.name);
      else chart.reset();
    });
    // A long press of ours must not open the browser's menu.
    box.addEventListener("contextmenu", (event) => {
      if (this.isPointing) event.preventDefault();
    });
  }

  /** @param {MouseEvent} event */
  #at(event) {
    const rect = this.box.getBoundingClientRect();
    return { x: event.clientX - rect.left, y: event.clientY - rect.top };
  }

  /** @param {PointerEvent} event */
  #onDown(event) {
    if (event.button !== 0 || isControl(event)) return;
    this.box.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.down.set(event.pointerId, at);
    this.hasMoved = this.down.size > 1;
    clearTimeout(this.pressTimer);
    this.pane = this.chart.paneAt?.(at.y)?.name ?? null;
    this.isOnAxis = this.pane !== null && at.x > this.chart.plotWidth;
    if (event.pointerType !== "mouse" && this.down.size === 1 && !this.isOnAxis) {
      this.isPointing = false;
      this.pressTimer = setTimeout(() => {
        this.isPointing = true;
        this.chart.point(at.x, at.y);
      }, LONG_PRESS_MS);
    }
  }

  /** @param {PointerEvent} event */
  #onMove(event) {
    const at = this.#at(event);
    const before = this.down.get(event.pointerId);
    if (before === undefined) {
      if (event.pointerType === "mouse") this.chart.point(at.x, at.y);
      return;
    }
    if (this.down.size === 2) this.#pinch(event.pointerId, before, at);
    else if (this.isPointing) this.chart.point(at.x, at.y);
    else if (!this.#drag(before, at, event.pointerType)) return;
    this.down.set(event.pointerId, at);
  }

  /**
   * @param {{x: number, y: number}} before
   * @param {{x: number, y: number}} at
   * @param {string} pointerType
   * @returns {boolean} false while it may still become a tap or a long press
   */
  #drag(before, at, pointerType) {
    const distance = Math.hypot(at.x - before.x, at.y - before.y);
    if (!this.hasMoved && distance < TAP_SLOP_PX) return false;
    this.hasMoved = true;
    clearTimeout(this.pressTimer);
    this.box.classList.add("panning");
    if (this.isOnAxis && this.pane !== null) {
      this.chart.scaleBy?.(this.pane, Math.exp((before.y - at.y) * AXIS_DRAG));
      return true;
    }
    this.chart.panBy(at.x - before.x);
    if (this.pane !== null) this.chart.shiftBy?.(this.pane, at.y - before.y);
    if (pointerType === "mouse") this.chart.point(at.x, at.y);
    return true;
  }

  /**
   * @param {number} id
   * @param {{x: number, y: number}} before
   * @param {{x: number, y: number}} at
   */
  #pinch(id, before, at) {
    clearTimeout(this.pressTimer);
    for (const [otherId, other] of this.down) {
      if (otherId === id) continue;
      const oldSpan = Math.max(10, Math.hypot(before.x - other.x, before.y - other.y));
      const newSpan = Math.max(10, Math.hypot(at.x - other.x, at.y - other.y));
      this.chart.zoomAt((before.x + other.x) / 2, newSpan / oldSpan);
      this.chart.panBy((at.x - before.x) / 2);
    }
  }

  /** @param {PointerEvent} event */
  #onUp(event) {
    clearTimeout(this.pressTimer);
    if (!this.down.delete(event.pointerId)) return;
    if (this.down.size > 0) return;
    this.box.classList.remove("panning");
    const isTap = event.type === "pointerup" && !this.hasMoved && !this.isPointing;
    if (isTap && event.pointerType !== "mouse") this.chart.unpoint();
  }
}
