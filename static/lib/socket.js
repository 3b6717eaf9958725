/**
 * The tab's one WebSocket: kept open, found again after a loss, silent while nobody looks. Messages
 * carry numbers; where one is missing, the question is asked again.
 */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** The server says something each second. */
const SILENCE_MS = 6000;

/**
 * @typedef {object} SocketEvents
 * @property {() => void} onOpen  it stands; `ask` may be called
 * @property {(message: any) => void} onMessage  the next message; none is missing before it
 * @property {(error: string) => void} onError  what was asked for cannot be shown
 * @property {(losses: number) => void} onLost  it ended, for so many times in a row without a word
 */

export class LiveSocket {
  /** @param {SocketEvents} events */
  constructor(events) {
    this.events = events;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {any} */
    this.question = null;
    this.seq = 0;
    this.losses = 0;
    this.timer = 0;
    this.silence = 0;
    this.isWanted = false;
    /** How long to wait between two tries; 0: longer each time. */
    this.restMs = 0;
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Have it open from now on, at once where it is not. */
  open() {
    this.isWanted = true;
    if (this.socket === null) this.#connect();
  }

  /** Do without it until `open`. */
  close() {
    this.isWanted = false;
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    const { socket } = this;
    this.socket = null;
    socket?.close();
  }

  /**
   * Hear of something from now on; what still comes of an earlier question is dropped.
   * @param {() => any} question  what to watch, as docs/chart.md has it; asked again after a gap
   */
  ask(question) {
    this.question = question;
    this.seq = 0;
    if (!this.isOpen) return;
    this.socket?.send(JSON.stringify({ watch: question() }));
    if (document.hidden) this.socket?.send('{"hidden": true}');
    this.#listenForSilence();
  }

  #connect() {
    clearTimeout(this.timer);
    this.question = null;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket = socket;
    socket.addEventListener("open", () => {
      if (this.socket !== socket) return;
      clearTimeout(this.silence);
      this.events.onOpen();
    });
    socket.addEventListener("message", (event) => {
      if (this.socket === socket) this.#hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", () => {
      if (this.socket === socket) this.#lose();
    });
    this.#listenForSilence();
  }

  /** @param {any} message */
  #hear(message) {
    this.losses = 0;
    this.restMs = 0;
    this.#listenForSilence();
    if (message.error !== undefined) {
      this.events.onError(message.error);
      return;
    }
    // What is still on its way for an earlier question has other numbers than the first.
    if (this.question === null || (this.seq === 0 && message.seq !== 1)) return;
    if (message.seq !== this.seq + 1) {
      this.ask(this.question);
      return;
    }
    this.seq = message.seq;
    this.events.onMessage(message);
  }

  #lose() {
    clearTimeout(this.silence);
    this.socket = null;
    this.losses += 1;
    // Pages of one computer must not all come back in the same moment.
    const grown = Math.min(LONGEST_WAIT_MS / 2, FIRST_WAIT_MS * 2 ** Math.min(9, this.losses - 1));
    const wait = this.restMs || grown * (1 + Math.random());
    if (!document.hidden) this.timer = setTimeout(() => this.#connect(), wait);
    this.events.onLost(this.losses);
  }

  /** A server that is gone without a goodbye is noticed by its silence. */
  #listenForSilence() {
    clearTimeout(this.silence);
    if (document.hidden) return;
    this.silence = setTimeout(() => {
      const { socket } = this;
      this.#lose();
      // Its goodbye may take a minute: nobody waits for it.
      socket?.close();
    }, SILENCE_MS);
  }

  #onVisibility() {
    if (!this.isWanted) return;
    if (this.socket === null) {
      clearTimeout(this.timer);
      if (!document.hidden) this.#connect();
      return;
    }
    if (this.isOpen) this.socket.send(JSON.stringify({ hidden: document.hidden }));
    this.#listenForSilence();
  }
}
