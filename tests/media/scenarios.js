// What two people with real browsers experience. Each scenario fails when the feature that it is about is removed.
import assert from "node:assert/strict";
import { MINUTE_MS, queryRow, variable, watchTotals, withoutProcess } from "./stack.js";
import { until } from "./wait.js";

/// Price of a minute of sound in coins, and the coins of a new caller.
const PRICE = 10;
const COINS = 300;
/// This long after the end of the last paid minute, relays carry nothing any more. One second of it passes until the
/// platform looks for calls whose minutes are over.
const CUT_WITHIN_MS = 3_000;
/// Time without a packet that is silence.
const SILENCE_MS = 2_000;
/// Pauses of the sound up to this one are those of a machine that stalls.
const GAP_MAX_MS = 500;

/// A modified client that goes on sending after the end of a call.
const NEVER_CLOSES = `
  RTCPeerConnection.prototype.close = () => {};
  MediaStreamTrack.prototype.stop = () => {};
`;
/// A modified client that sends its sound five times: a relay publishes its counts every 2,048 packets.
const SENDS_FIVEFOLD = `{
  const add = RTCPeerConnection.prototype.addTrack;
  RTCPeerConnection.prototype.addTrack = function (track, stream) {
    for (let extra = 0; extra < 4; extra += 1) add.call(this, track.clone(), stream);
    return add.call(this, track, stream);
  };
}`;
/// A modified client that tells the platform nothing about its media.
const REPORTS_NOTHING = `{
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    if (JSON.parse(text).type !== "media") send.call(this, text);
  };
}`;
/// A modified client that offers the addresses of its device.
const OFFERS_ITS_ADDRESSES = `{
  const Original = RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Original {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: "all" });
    }
    setConfiguration(configuration) {
      super.setConfiguration({ ...configuration, iceTransportPolicy: "all" });
    }
  };
}`;

/// Lists the candidates in signals, those within descriptions included.
function candidates(frames) {
  const inSignal = ({ data }) => [
    ...(data.candidates ?? []).map(({ candidate }) => candidate),
    ...(data.description?.sdp.match(/candidate:.*/g) ?? []),
  ];
  return frames.flatMap(inSignal).filter((candidate) => candidate.trim());
}

/// Asserts that a side was told about relays, and about nothing else.
function assertOnlyRelays(side) {
  const delivered = candidates(side.received("signal"));
  assert.ok(delivered.length > 0, `the ${side.role} received no candidate`);
  for (const candidate of delivered) {
    assert.match(candidate, / typ relay raddr 0\.0\.0\.0 rport 0\b/, side.role);
  }
}

/// Waits until a side receives no more packets, and returns when that began, by the clock of this process.
async function silenceBegins(side) {
  let last = { packets: -1, since: Date.now() };
  return until(`silence at the ${side.role}`, async () => {
    const { packets } = await side.hearing();
    if (packets !== last.packets) last = { packets, since: Date.now() };
    return Date.now() - last.since > SILENCE_MS && last.since;
  });
}

/// Name of the relay with this port.
function relayName(port) {
  return variable("COTURN_URL").includes(`:${port}?`) ? "coturn" : "coturn-2";
}

/// A live call whose pages go on sending after its end.
async function startEndless(call) {
  await call.startLive({ caller: { script: NEVER_CLOSES }, listener: { script: NEVER_CLOSES } });
  await Promise.all(call.sides.map((side) => side.keepMedia()));
}

export const scenarios = {
  /// Ring, accept, sound both ways, through relays only; the meter begins with the media and bills the next minute.
  async both_hear_each_other(call) {
    await call.start();
    const [caller, listener] = call.sides;
    await Promise.all([caller.receives("call_started"), listener.receives("call_started")]);
    for (const side of call.sides) {
      const firstReport = side.sent("media")[0];
      assert.equal(firstReport?.data.state, "connected");
      assert.ok(firstReport.at <= side.received("call_started")[0].at, "the meter began before the media");
    }
    await Promise.all(call.sides.map((side) => side.hears()));
    call.sides.forEach(assertOnlyRelays);
    const billed = await caller.receives("call_billing", ({ minute }) => minute === 2);
    assert.equal(billed.remaining_coins, COINS - 2 * PRICE);
    await caller.page.click("#hangup");
    await Promise.all(call.sides.map((side) => side.waitForScreen("receipt")));
    const receipt = await call.receipt();
    assert.equal(await call.coins(), COINS - receipt.coins_spent);
    assert.ok(receipt.duration_minutes >= 2, JSON.stringify(receipt));
  },

  /// The coins are used up, and not one more packet arrives, although both pages go on sending.
  async nothing_arrives_after_the_last_coin(call) {
    await startEndless(call);
    const silences = Promise.all(call.sides.map(silenceBegins));
    const ended = await call.caller.receives("call_ended");
    assert.equal(ended.end_reason, "coins_empty");
    assert.equal(await call.coins(), 0);
    const endedAt = Date.parse((await call.receipt()).end_time);
    for (const silentAt of await silences) {
      assert.ok(silentAt - endedAt < CUT_WITHIN_MS, `media for ${silentAt - endedAt} ms more`);
    }
    // Nobody has hung up the peer connections.
    for (const side of call.sides) assert.notEqual(await side.connectionState(), "closed");
  },

  /// Apps that report nothing to talk free are metered by what the relays count.
  async apps_that_report_nothing_pay(call) {
    const silent = { script: REPORTS_NOTHING + SENDS_FIVEFOLD };
    await call.start({ caller: silent, listener: silent });
    const started = await call.caller.receives("call_started");
    assert.ok(started.remaining_coins < COINS, JSON.stringify(started));
    for (const side of call.sides) assert.equal(side.sent("media").length, 0);
    const ended = await call.end();
    assert.ok(ended.coins_spent > 0, JSON.stringify(ended));
    assert.equal(await call.coins(), COINS - ended.coins_spent);
  },

  /// A relay publishes its counts too late for apps that report nothing. When the time to connect is over, the call is
  /// cut, which brings the counts, and what was talked is paid.
  async apps_that_report_nothing_pay_before_the_relay_counts(call) {
    const silent = { script: REPORTS_NOTHING };
    await call.start({ caller: silent, listener: silent });
    const ended = await call.caller.receives("call_ended");
    assert.equal(ended.end_reason, "media_lost");
    assert.ok(ended.coins_spent > 0, JSON.stringify(ended));
    await until("the sum of the receipt", async () => (await call.coins()) === COINS - ended.coins_spent);
  },

  /// A modified client offers the addresses of its device, and the other side never sees them.
  async addresses_of_devices_are_removed(call) {
    const modified = { script: OFFERS_ITS_ADDRESSES };
    await call.startLive({ caller: modified, listener: modified });
    for (const side of call.sides) {
      const offered = candidates(side.sent("signal"));
      assert.ok(offered.some((candidate) => candidate.includes(" typ host")), `the ${side.role} offers none`);
    }
    call.sides.forEach(assertOnlyRelays);
    await call.end();
  },

  /// The listener's device is gone. The call ends as of the last sound, and minutes charged since are returned.
  async a_lost_listener_costs_nothing_more(call) {
    const loud = { script: SENDS_FIVEFOLD };
    await call.startLive({ caller: loud, listener: loud });
    await until("the counts of both sides", async () => {
      const [counted] = await queryRow(
        `SELECT count(*) FROM calls.seats
         WHERE call_id = ${call.callId} AND relay_in_grew_at IS NOT NULL AND relay_out_grew_at IS NOT NULL`,
      );
      return Number(counted) >= 2;
    });
    // `call_billing` follows from the second minute on.
    const billedBefore = call.caller.received("call_billing").length + 1;
    await call.killListener();
    const ended = await call.caller.receives("call_ended");
    assert.equal(ended.end_reason, "media_lost");
    const charged = call.caller.received("call_billing").length + 1;
    const receipt = await call.receipt();
    assert.ok(charged > receipt.duration_minutes, `${charged} minutes charged, ${JSON.stringify(receipt)}`);
    assert.ok(receipt.duration_minutes <= billedBefore + 2, JSON.stringify(receipt));
    const returned = () => call.coins().then((coins) => coins === COINS - receipt.coins_spent);
    await until("the minutes to be returned", returned);
  },

  /// The listener accepts and never joins: nothing is charged.
  async a_call_without_media_costs_nothing(call) {
    await call.start({ accept: false });
    const path = `/calls/${call.callId}/accept`;
    await call.request(call.listener, "POST", path);
    const data = await call.caller.receives("call_unanswered");
    assert.deepEqual([data.outcome, data.reason], ["failed", "no_media"]);
    await until("the coins to be back", () => call.coins().then((coins) => coins === COINS));
  },

  /// The gateway of the caller dies. The sound goes on, and the page takes its seat through another gateway.
  async sound_goes_on_without_the_gateway(call) {
    await call.startLive({ caller: { gateway: "last" } });
    await call.caller.page.evaluate(recordLongestGap);
    const [{ data: first }] = call.caller.received("joined");
    await withoutProcess("gateway-2", async () => {
      const again = await call.caller.receives("joined", ({ epoch }) => epoch > first.epoch);
      assert.equal(again.call_id, call.callId);
      await Promise.all(call.sides.map((side) => side.hears()));
      const gap = await call.caller.page.evaluate(() => globalThis.longestGapMs);
      assert.ok(gap < GAP_MAX_MS, `no sound for ${gap} ms`);
      const minute = call.caller.received("call_billing").at(-1)?.data.minute ?? 1;
      await call.caller.receives("call_billing", (billed) => billed.minute > minute);
    });
    const ended = await call.end();
    const elapsed = call.caller.received("call_ended")[0].at - call.caller.received("call_started")[0].at;
    const expected = Math.ceil(elapsed / MINUTE_MS);
    assert.ok(Math.abs(ended.duration_minutes - expected) <= 1, `${expected}: ${JSON.stringify(ended)}`);
    assert.equal(await call.coins(), COINS - PRICE * ended.duration_minutes);
  },

  /// A relay dies in the middle of a call. The apps restart ICE and go on through the other one.
  async sound_comes_back_through_another_relay(call) {
    await call.startLive();
    const { caller } = call;
    const first = await caller.relayPort();
    await withoutProcess(relayName(first), async () => {
      const hasMoved = async () =>
        (await caller.connectionState()) === "connected" && ![undefined, first].includes(await caller.relayPort());
      await until("another relay", hasMoved);
      await Promise.all(call.sides.map((side) => side.hears()));
    });
    await call.end();
  },

  /// The agents of the relays are away while a call ends. They cut it when they are back, and count it exactly.
  async agents_that_were_away_cut_and_count_exactly(call) {
    await startEndless(call);
    const totals = await watchTotals(call.callId);
    await withoutProcess("relay-agent", () =>
      withoutProcess("relay-agent-2", async () => {
        await call.end();
        // Nobody has cut the call.
        await Promise.all(call.sides.map((side) => side.hears()));
      }),
    );
    await Promise.all(call.sides.map(silenceBegins));
    const counted = await until("the end of all sessions", async () => {
      const [received, sent, live] = await countAllocations(call);
      return live === "0" && [Number(received), Number(sent)];
    });
    assert.ok(totals.totals.sessions >= 2);
    assert.deepEqual(counted, totals.totals.packets);
    totals.close();
  },
};

/// Runs in the page: remembers the longest time for which no packet of sound has arrived.
function recordLongestGap() {
  globalThis.longestGapMs = 0;
  setInterval(async () => {
    for (const one of (await globalThis.talktime.media.pc.getStats()).values()) {
      if (one.type !== "inbound-rtp" || one.kind !== "audio") continue;
      const gap = one.timestamp - one.lastPacketReceivedTimestamp;
      globalThis.longestGapMs = Math.max(globalThis.longestGapMs, gap);
    }
  }, 50);
}

function countAllocations(call) {
  return queryRow(
    `SELECT COALESCE(sum(in_packets), 0), COALESCE(sum(out_packets), 0), count(*) FILTER (WHERE ended_at IS NULL)
     FROM calls.relay_allocations WHERE call_id = ${call.callId}`,
  );
}
