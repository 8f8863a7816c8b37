// The demo app. Whether a window is the caller or the listener follows from the account that logs in. The address may
// name the account: `?as=caller`, `?as=listener`, or `?phone=` and `?listener=` for accounts of one's own. With
// `?gateway=last` the page begins at the last gateway instead of the first.
import { ApiClient } from "./api.js";
import { CallMedia } from "./call-media.js";
import { CallSocket } from "./call-socket.js";

const $ = (id) => document.getElementById(id);
const address = new URLSearchParams(location.search);
// The server of this page exists in development only. It knows the gateways, and two accounts.
const demo = await (await fetch("demo/config")).json();
const phone = address.get("phone") ?? demo.users[address.get("as") ?? "caller"].phone;
if (address.has("gateway")) demo.gateways.unshift(demo.gateways.pop());
const api = new ApiClient(demo.gateways, phone);
/// The state of the page, which browser tests read.
const app = (globalThis.talktime = { api, call: null, media: null });

function show(screen) {
  document.body.dataset.screen = screen;
  for (const place of document.querySelectorAll(".peer")) place.textContent = app.call?.peer?.username ?? "";
}

/// Does what a click or a message asks for, and shows why it failed.
async function attempt(action) {
  const done = Promise.resolve().then(action);
  $("problem").textContent = await done.then(() => "", (error) => error.message);
}

async function logIn() {
  const phone = $("phone").value;
  if (!$("otp").value) {
    await api.send("POST", "/auth/request_otp", { phone });
    // Development sends no text messages: the server of this page hands the code over.
    const response = await fetch(`demo/otp?phone=${encodeURIComponent(phone)}`);
    $("otp").value = (await response.json()).otp;
  }
  await api.logIn(phone, $("otp").value).finally(() => ($("otp").value = ""));
  await enter();
}

async function enter() {
  const { username, roles } = await api.send("GET", "/users/me");
  app.isListener = roles.includes("listener");
  document.body.dataset.role = app.isListener ? "listener" : "caller";
  if (app.isListener) await api.send("PUT", "/users/me/status", { is_online: true });
  $("who").value = document.title = username;
  show("home");
  await showPurse();
  app.socket = new CallSocket(api);
  for (const [type, handle] of Object.entries(messages))
    app.socket.addEventListener(type, ({ detail }) => attempt(() => handle(detail)));
  await api.send("GET", "/calls/current").then((call) => call.call_id && resume(call));
}

const messages = {
  snapshot: ({ ring }) => ring && resume(ring),
  call_ringing: resume,
  // The caller opens the media. Of the listener's windows, those in which nobody has accepted stop ringing.
  call_accepted: () => (app.isListener ? app.call?.accepted_by_me || leave() : app.call && openMedia()),
  call_started: showMinute,
  call_billing: showMinute,
  media_state: ({ state }) => ($("state").value = state.replace("_", " ")),
  call_unanswered: ({ call_id, outcome, reason }) => finish(call_id, reason ?? outcome),
  call_ended: ({ call_id, end_reason }) => finish(call_id, end_reason),
};

/// Goes on with a call where it stands: it rings, or this page was loaded anew in the middle of it.
async function resume(call) {
  app.call = { ...app.call, ...call };
  if (call.status === "ringing") {
    show(app.isListener ? "incoming" : "outgoing");
    if (app.isListener) app.socket.send("ringing", { call_id: call.call_id });
  } else if (!app.isListener || call.accepted_by_me) {
    await openMedia();
  }
}

async function ring(call_type) {
  const listener_id = Number(address.get("listener") ?? demo.users.listener.user_id);
  const body = { listener_id, call_type, ring: true, media: "platform" };
  await api.send("POST", "/calls/start", body, withKey());
}

/// Opens the microphone, and the camera of a video call, and takes the seat.
async function openMedia() {
  const { call_id, call_type } = app.call;
  if (app.opened === call_id) return;
  app.opened = call_id;
  document.body.dataset.type = call_type;
  show("call");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: call_type === "video" });
  $("local").srcObject = stream;
  app.media = new CallMedia(app.socket, call_id, stream);
  app.media.addEventListener("remote", ({ detail }) => ($("remote").srcObject = detail));
  app.media.addEventListener("taken", () => (confirm("Take over from another device?") ? app.media.join(true) : leave()));
  // The call may be over by the time the microphone is permitted.
  if (app.call?.call_id !== call_id) leave();
}

function leave() {
  app.media?.close();
  Object.assign(app, { media: null, call: null, receipt: null, opened: null });
  show("home");
}

async function showPurse() {
  app.balance = await api.send("GET", "/wallet/balance");
  $("purse").value = app.isListener ? `₹${app.balance.withdrawable_money}` : `${app.balance.balance_coins} coins`;
}

async function showMinute({ call_id, minute, remaining_coins }) {
  app.receipt ??= await api.send("GET", `/calls/${call_id}`);
  const { rate_per_minute, listener_rate_per_minute: rupees } = app.receipt;
  $("minute").value = minute;
  $("rate").value = app.isListener ? `₹${rupees}` : `${rate_per_minute} coins`;
  const earned = app.balance.withdrawable_money + minute * rupees;
  $("purse").value = app.isListener ? `₹${earned}` : `${remaining_coins} coins`;
}

async function finish(callId, reason) {
  if (app.call?.call_id !== callId) return;
  leave();
  const receipt = await api.send("GET", `/calls/${callId}`).catch(() => null);
  const { coins_spent = 0, listener_money_earned = 0, minutes = [] } = receipt ?? {};
  $("outcome").value = reason.replaceAll("_", " ");
  $("summary").value = `${coins_spent} coins spent, ₹${listener_money_earned} earned`;
  const cells = ({ minute, coins, media, refunded }) => [minute, `${coins} coins`, media, refunded ? "refunded" : ""];
  $("minutes").innerHTML = minutes.map((one) => `<tr><td>minute ${cells(one).join("<td>")}`).join("");
  show("receipt");
  await showPurse();
}

const withKey = () => ({ "idempotency-key": crypto.randomUUID() });
const answer = (verb) => api.send("POST", `/calls/${app.call.call_id}/${verb}`);
const actions = {
  audio: () => ring("audio"),
  video: () => ring("video"),
  recharge: () => api.send("POST", "/calls/recharge", { amount_rupees: 150, payment_method: "upi" }, withKey()).then(showPurse),
  cancel: () => answer("cancel"),
  accept: () => ((app.call.accepted_by_me = true), answer("accept").then(openMedia)),
  reject: () => answer("reject"),
  mute: () => ($("mute").textContent = app.media.setMuted(!app.media.muted) ? "Unmute" : "Mute"),
  hangup: () => api.send("POST", "/calls/end", { call_id: app.call.call_id }),
  done: () => show("home"),
};
for (const [id, action] of Object.entries(actions)) $(id).onclick = () => attempt(action);
$("login").onsubmit = (event) => (event.preventDefault(), attempt(logIn));
$("phone").value = phone;
if (api.tokens || address.size > 0) attempt(api.tokens ? enter : logIn);
