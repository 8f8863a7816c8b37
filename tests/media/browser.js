// Chromium with two pages of the demo, one for each side of a call, and what they send, receive and hear.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { until, WAIT_MAX_MS } from "./wait.js";
import { variable } from "./stack.js";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A microphone that beeps and a camera with a moving picture, both permitted.
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

/// Characters of a message that the report of a failure shows.
const FRAME_SHOWN = 160;

const accounts = JSON.parse(variable("SCENARIO_ACCOUNTS"));

/// Starts a browser with a process of its own, so that one side of a call can be killed.
async function openBrowser() {
  const options = { executablePath: "/usr/bin/chromium", args: ARGUMENTS, headless: true };
  const server = await chromium.launchServer(options);
  return { server, browser: await chromium.connect(server.wsEndpoint()) };
}

/// One side of a call.
export class CallPage {
  /// Opens the page, which logs in by itself. `script` runs before the page's own, and makes it a modified client.
  static async open(browser, role, { gateway, script } = {}) {
    const side = new CallPage();
    const context = await browser.newContext({ permissions: ["microphone", "camera"] });
    side.page = await context.newPage();
    side.page.setDefaultTimeout(WAIT_MAX_MS);
    side.role = role;
    side.frames = [];
    side.page.on("websocket", (socket) => side.record(socket));
    side.page.on("pageerror", (error) => console.error(`${role}: ${error.message}`));
    side.page.on("console", (line) => console.error(`${role}: ${line.text()}`));
    if (script) await side.page.addInitScript(script);
    const query = new URLSearchParams({
      as: role,
      phone: accounts[role].phone,
      listener: accounts.listener.user_id,
      ...(gateway && { gateway }),
    });
    await side.page.goto(`${variable("PAGE_URL")}/?${query}`);
    await side.logIn();
    await side.receives("hello");
    return side;
  }

  /// Waits for the login, which the page makes by itself. On a busy machine a person clicks once more.
  async logIn() {
    await until(`the login of the ${this.role}`, () =>
      this.page.evaluate(() => {
        const { screen } = document.body.dataset;
        const problem = document.getElementById("problem");
        if (screen === "login" && problem.textContent) {
          problem.textContent = "";
          document.querySelector("#login button").click();
        }
        return screen === "home";
      }),
    );
  }

  record(socket) {
    const add = (direction) => (frame) => {
      const { type, data } = JSON.parse(frame.payload);
      this.frames.push({ at: Date.now(), direction, type, data });
    };
    socket.on("framesent", add("sent"));
    socket.on("framereceived", add("received"));
  }

  received(type) {
    return this.frames.filter((frame) => frame.direction === "received" && frame.type === type);
  }

  sent(type) {
    return this.frames.filter((frame) => frame.direction === "sent" && frame.type === type);
  }

  /// Waits until the page has received a message of this type that fits, and returns its data.
  async receives(type, fits = () => true) {
    const find = () => this.received(type).find(({ data }) => fits(data));
    return (await until(`${type} at the ${this.role}`, find)).data;
  }

  waitForScreen(screen) {
    return this.page.waitForSelector(`body[data-screen=${screen}]`);
  }

  /// Returns what the browser has counted of the sound that it receives; null before there is any.
  hearing() {
    return this.page.evaluate(async () => {
      const report = await globalThis.talktime.media?.pc?.getStats();
      const isSound = (one) => one.type === "inbound-rtp" && one.kind === "audio";
      const sound = [...(report?.values() ?? [])].find(isSound);
      if (!sound) return null;
      const { packetsReceived, totalAudioEnergy, timestamp, lastPacketReceivedTimestamp } = sound;
      return { packets: packetsReceived, energy: totalAudioEnergy, at: timestamp, lastAt: lastPacketReceivedTimestamp };
    });
  }

  /// Waits until sound arrives: more packets than when the wait began, and more energy.
  async hears() {
    const before = (await this.hearing()) ?? { packets: 0, energy: 0 };
    return until(`sound at the ${this.role}`, async () => {
      const now = await this.hearing();
      return now && now.packets > before.packets + 20 && now.energy > before.energy && now;
    });
  }

  connectionState() {
    return this.page.evaluate(() => globalThis.talktime.media?.pc?.connectionState);
  }

  /// Returns the port of the relay through which the page sends at present.
  relayPort() {
    return this.page.evaluate(async () => {
      const report = await globalThis.talktime.media.pc.getStats();
      const transport = [...report.values()].find(({ type }) => type === "transport");
      const pair = report.get(transport?.selectedCandidatePairId);
      return report.get(pair?.localCandidateId)?.url?.split(/[:?]/)[2];
    });
  }

  /// Keeps the media of the call within reach of the test, although the page forgets it at the end.
  keepMedia() {
    return this.page.evaluate(() => {
      const { pc } = globalThis.talktime.media;
      Object.defineProperty(globalThis.talktime, "media", { get: () => ({ pc, close() {} }), set() {} });
    });
  }
}

/// A call of two pages.
export class BrowserCall {
  browsers = [];
  sides = [];

  get caller() {
    return this.sides[0];
  }

  get listener() {
    return this.sides[1];
  }

  /// Opens both pages, rings and accepts.
  async start({ callType = "audio", caller = {}, listener = {}, accept = true } = {}) {
    this.browsers.push(await openBrowser(), await openBrowser());
    const [first, second] = this.browsers.map(({ browser }) => browser);
    this.sides = await Promise.all([
      CallPage.open(first, "caller", caller),
      CallPage.open(second, "listener", listener),
    ]);
    await this.caller.page.click(`#${callType}`);
    const { call_id } = await this.listener.receives("call_ringing");
    this.callId = call_id;
    if (accept) await this.listener.page.click("#accept");
  }

  /// Starts a call, and waits until the meter runs and both hear each other.
  async startLive(options) {
    await this.start(options);
    await Promise.all(this.sides.map((side) => side.receives("call_started")));
    await Promise.all(this.sides.map((side) => side.hears()));
  }

  /// Sends a request with the login of one side.
  async request(side, method, path, body) {
    const token = await side.page.evaluate(() => globalThis.talktime.api.tokens.access_token);
    return requestAs(token, method, path, body);
  }

  async receipt() {
    return this.request(this.caller, "GET", `/calls/${this.callId}`);
  }

  async coins() {
    return (await this.request(this.caller, "GET", "/wallet/balance")).balance_coins;
  }

  async end(side = this.caller) {
    const ended = await this.request(side, "POST", "/calls/end", { call_id: this.callId });
    await Promise.all(this.sides.map((one) => one.receives("call_ended")));
    return ended;
  }

  /// Kills the browser of the listener, as if the battery of a phone were removed.
  killListener() {
    return this.browsers[1].server.kill();
  }

  /// Describes what both pages have sent and received, for the report of a failure.
  describe() {
    const lines = this.sides.flatMap(({ role, frames }) =>
      frames.map(({ at, direction, type, data }) => {
        const when = new Date(at).toISOString().slice(14, 23);
        return `${when} ${role} ${direction} ${type} ${JSON.stringify(data).slice(0, FRAME_SHOWN)}`;
      }),
    );
    return lines.sort().join("\n");
  }

  async close() {
    await Promise.all(this.browsers.map(({ server }) => server.kill()));
  }
}

export async function requestAs(token, method, path, body) {
  const response = await fetch(variable("GATEWAY_URL") + path, {
    method,
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(WAIT_MAX_MS),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, `${method} ${path}: ${JSON.stringify(answer)}`);
  return answer;
}
