// The media of one call: the seat, the peer connection, perfect negotiation, ICE restarts, and reports.

/// `disconnected` often passes by itself.
const RESTART_AFTER_MS = 3_000;
/// Candidates that are found within this time travel together.
const CANDIDATES_WITHIN_MS = 50;

/// Dispatches `remote` with the stream of the other side, and `taken` when another device has the seat.
export class CallMedia extends EventTarget {
  constructor(socket, callId, localStream) {
    super();
    Object.assign(this, { socket, callId, localStream, muted: false, restarts: 0, peerEpoch: 0 });
    Object.assign(this, { closing: new AbortController(), signals: Promise.resolve() });
    const options = { signal: this.closing.signal };
    const isOurs = ({ call_id }) => call_id === undefined || call_id === callId;
    const on = (type, handle) =>
      socket.addEventListener(type, ({ detail }) => isOurs(detail) && handle(detail), options);
    on("hello", () => this.join());
    on("joined", (joined) => this.handleJoined(joined));
    on("peer_joined", ({ peer_epoch }) => this.handlePeerJoined(peer_epoch));
    on("signal", (signal) => this.enqueueSignal(signal));
    on("seat_taken", () => this.dispatchEvent(new Event("taken")));
    on("error", ({ code }) => code === "SEAT_TAKEN" && this.dispatchEvent(new Event("taken")));
    on("error", ({ code }) => ["STALE_EPOCH", "TRY_AGAIN", "PEER_AWAY"].includes(code) && this.joinLater());
    addEventListener("online", () => this.restart(), options); // The device has another network now.
    this.join();
  }

  /// Takes the seat. After the loss of a socket it is a new seat for the same peer connection: media does not pass
  /// the gateway, so it has gone on meanwhile.
  join(takeOver = false) {
    this.socket.send("join", { call_id: this.callId, take_over: takeOver });
  }

  /// A new seat repairs what was lost: both sides repeat their part of a negotiation that is not complete.
  joinLater() {
    clearTimeout(this.joinTimer);
    this.joinTimer = setTimeout(() => this.join(), RESTART_AFTER_MS);
  }

  send(type, data) {
    this.socket.send(type, { call_id: this.callId, epoch: this.epoch, ...data });
  }

  handleJoined({ epoch, polite, peer_joined, ice_servers, ice_transport_policy, report_every_secs }) {
    const isRefresh = epoch === this.epoch;
    // Only relays, so that neither side learns the address of the other. The gateway removes other candidates anyway.
    const configuration = { iceServers: ice_servers, iceTransportPolicy: ice_transport_policy };
    Object.assign(this, { epoch, polite, configuration, peerJoined: peer_joined });
    if (!this.pc) {
      this.createPeerConnection();
      this.reportTimer = setInterval(() => this.report(), report_every_secs * 1_000);
    } else if (isRefresh) {
      this.pc.setConfiguration(configuration);
      this.pc.restartIce();
      this.restarts += 1;
      // The browser asks for no offer while an earlier one, which was lost, has no answer.
      if (this.pc.signalingState !== "stable") this.describe({ isOffer: true });
    } else {
      this.handleConnectionState();
      if (peer_joined) this.handlePeerJoined(this.peerEpoch);
    }
  }

  createPeerConnection() {
    this.pc?.close();
    const pc = new RTCPeerConnection(this.configuration);
    this.pc = pc;
    for (const track of this.localStream.getTracks()) pc.addTrack(track, this.localStream);
    pc.ontrack = ({ streams: [detail] }) => this.dispatchEvent(new CustomEvent("remote", { detail }));
    const candidates = [];
    const sendAll = () => this.send("signal", { candidates: candidates.splice(0) });
    pc.onicecandidate = ({ candidate }) =>
      candidate && candidates.push(candidate) === 1 && setTimeout(sendAll, CANDIDATES_WITHIN_MS);
    pc.onnegotiationneeded = () => (pc.remoteDescription ? this.describe({ isOffer: true }) : this.offerFirst());
    pc.onconnectionstatechange = () => pc === this.pc && this.handleConnectionState();
  }

  handlePeerJoined(peerEpoch) {
    this.peerJoined = true;
    this.peerEpoch = Math.max(this.peerEpoch, peerEpoch);
    // What was sent to the seat before may be lost. A connection that works needs nothing.
    if (this.pc?.remoteDescription && this.pc.connectionState !== "connected") this.restart();
    else this.offerFirst();
  }

  /// The first offer is the caller's. After it, either side may have a reason for another one.
  offerFirst() {
    if (!this.polite && this.peerJoined && this.pc && !this.pc.remoteDescription) this.describe({ isOffer: true });
  }

  /// Makes an offer or an answer, whichever is due, and sends it.
  async describe({ isOffer }) {
    const { pc } = this;
    this.isOffering = isOffer;
    await pc.setLocalDescription().finally(() => (this.isOffering = false));
    const { type, sdp } = pc.localDescription;
    this.send("signal", { description: { type, sdp } });
  }

  /// Signals are handled one after another, since each step of a negotiation is asynchronous.
  enqueueSignal(signal) {
    const handle = () => this.handleSignal(signal);
    const complain = (error) => console.warn("failed to apply a signal; the next offer repairs it", error);
    this.signals = this.signals.then(handle).catch(complain);
  }

  async handleSignal({ from_epoch, description, candidates = [] }) {
    if (!this.pc || from_epoch < this.peerEpoch) return;
    this.peerEpoch = from_epoch;
    if (description) await this.handleDescription(description);
    if (this.ignoresOffer) return;
    for (const candidate of candidates) await this.pc.addIceCandidate(candidate);
  }

  async handleDescription(description) {
    const known = this.pc.remoteDescription;
    if (known && fingerprint(known) !== fingerprint(description)) {
      // The page of the other side was loaded anew, and its peer connection has no past.
      this.createPeerConnection();
      if (description.type === "answer") return this.offerFirst();
    }
    // Perfect negotiation: if two offers meet, the caller's stands, and the listener takes its own back.
    const collides = this.isOffering || this.pc.signalingState !== "stable";
    this.ignoresOffer = description.type === "offer" && collides && !this.polite;
    if (this.ignoresOffer) return;
    await this.pc.setRemoteDescription(description);
    if (description.type === "offer") await this.describe({ isOffer: false });
  }

  handleConnectionState() {
    const state = this.pc.connectionState;
    clearTimeout(this.restartTimer);
    if (state === "disconnected") this.restartTimer = setTimeout(() => this.restart(), RESTART_AFTER_MS);
    if (state === "failed") this.restart();
    this.report();
  }

  /// Asks for new credentials, whose arrival restarts ICE, until the connection is back.
  restart() {
    clearTimeout(this.restartTimer);
    this.send("refresh");
    const repeat = () => this.pc?.connectionState !== "connected" && this.restart();
    this.restartTimer = setTimeout(repeat, 2 * RESTART_AFTER_MS);
  }

  async report() {
    const state = this.pc.connectionState;
    if (!["connected", "disconnected", "failed"].includes(state)) return;
    const stats = summarize(await this.pc.getStats());
    this.send("media", { state, muted: this.muted, stats: { ...stats, ice_restarts: this.restarts } });
  }

  /// Turns the microphone off or on. While off it sends silence: packets are the evidence that it is there.
  setMuted(muted) {
    this.muted = muted;
    for (const track of this.localStream.getAudioTracks()) track.enabled = !muted;
    this.report();
    return muted;
  }

  close() {
    this.closing.abort();
    for (const timer of [this.reportTimer, this.restartTimer, this.joinTimer]) clearTimeout(timer);
    this.send("leave");
    this.pc?.close();
    for (const track of this.localStream.getTracks()) track.stop();
  }
}

const fingerprint = ({ sdp }) => /^a=fingerprint:.*$/m.exec(sdp)?.[0].trim();

/// Returns what the browser has counted, in the fields of a report.
function summarize(report) {
  const all = [...report.values()];
  const find = (type, kind) => all.find((one) => one.type === type && one.kind === kind) ?? {};
  const received = find("inbound-rtp", "audio");
  const pair = report.get(find("transport").selectedCandidatePairId);
  return {
    at_ms: Date.now(),
    tx_packets: find("outbound-rtp", "audio").packetsSent ?? 0,
    rx_packets: received.packetsReceived ?? 0,
    rx_bytes: received.bytesReceived ?? 0,
    rx_audio_energy: received.totalAudioEnergy ?? 0,
    rx_lost: Math.max(received.packetsLost ?? 0, 0),
    jitter_ms: Math.round((received.jitter ?? 0) * 1_000),
    rtt_ms: Math.round((pair?.currentRoundTripTime ?? 0) * 1_000),
    frames_decoded: find("inbound-rtp", "video").framesDecoded ?? 0,
  };
}
