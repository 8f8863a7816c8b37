// Waiting for a state, never for a time.

/// Longest wait for a state; a machine with two cores stalls for seconds.
export const WAIT_MAX_MS = 25_000;
const POLL_MS = 50;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// Waits until `probe` returns anything other than undefined, null or false, and returns that.
export async function until(what, probe, within = WAIT_MAX_MS) {
  const deadline = Date.now() + within;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== null && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${within} ms for ${what}`);
    await pause(POLL_MS);
  }
}
