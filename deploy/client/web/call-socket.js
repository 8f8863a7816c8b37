// The socket `/ws/calls`: the progress of calls, and the signals of their media. After a loss it connects again,
// through another replica of the gateway if there is one, and goes on after the last message.

const PING_EVERY_MS = 20_000;
const RECONNECT_MIN_MS = 250;
const RECONNECT_MAX_MS = 30_000;
/// Close codes: the token is invalid or has expired; the account has no access.
const TOKEN_REFUSED = 4401;
const NO_ACCESS = 4403;

/// Dispatches each message as an event of its type, with its data as `detail`; `hello` follows each connect.
export class CallSocket extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.failures = 0;
    this.connect();
    setInterval(() => this.send("ping", {}), PING_EVERY_MS); // A ping keeps the user online.
    addEventListener("online", () => this.failures > 0 && this.connect());
  }

  connect() {
    clearTimeout(this.timer);
    const url = new URL(`${this.api.gateways[0].replace("http", "ws")}/ws/calls`);
    if (this.epoch) url.search = new URLSearchParams({ since: this.seq, epoch: this.epoch });
    // A browser cannot set headers, so the token travels as a subprotocol.
    const socket = new WebSocket(url, ["bearer", this.api.tokens.access_token]);
    this.socket?.close();
    this.socket = socket;
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.socket && this.reconnect(code);
  }

  receive({ type, data, seq }) {
    this.seq = seq || this.seq;
    if (type === "hello") Object.assign(this, { epoch: data.epoch, failures: 0 });
    this.dispatchEvent(new CustomEvent(type, { detail: data }));
  }

  async reconnect(code) {
    if (code === NO_ACCESS) return;
    const next = () => this.api.useNextGateway();
    await (code === TOKEN_REFUSED ? this.api.refresh().catch(next) : next());
    // The random part keeps the clients of a gateway from coming back all at once.
    const wait = Math.min(RECONNECT_MIN_MS * 2 ** this.failures, RECONNECT_MAX_MS);
    this.failures += 1;
    this.timer = setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
  }

  /// Sends a message, unless the connection is lost: a seat that is taken again repeats what matters.
  send(type, data) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, data }));
  }
}
