// The stack of the tests: its runner, its API, its database, and what its relays publish.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect } from "node:net";
import { promisify } from "node:util";

const run = promisify(execFile);

export function variable(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run \`cargo dev test\``);
  return value;
}

/// Length of a billed minute.
export const MINUTE_MS = Number(variable("MINUTE_SECS")) * 1_000;

/// Runs a command of the runner, such as `kill coturn`.
export async function runDev(...command) {
  const { stdout } = await run(variable("TALKTIME_DEV"), ["--stack", "test", ...command]);
  return stdout;
}

/// Kills a process of the stack for the time of `action`, and starts it again whatever happens.
export async function withoutProcess(name, action) {
  await runDev("kill", name);
  try {
    return await action();
  } finally {
    await runDev("start", name);
  }
}

/// Runs a query in Postgres, and returns the fields of its only row.
export async function queryRow(sql) {
  const psql = `${variable("POSTGRES_BIN")}/psql`;
  const { stdout } = await run(psql, [variable("DATABASE_URL"), "--no-align", "--tuples-only", "-c", sql]);
  return stdout.trim().split("|");
}

/// A message about the end of a session: its user without the expiry, and packets in and out.
const TOTAL =
  /:([^\r\n]*)\/allocation\/\d+\/total_traffic\r\n\$\d+\r\nrcvp=(\d+), rcvb=\d+, sentp=(\d+), sentb=\d+\r\n/g;

/// Sums what the relays publish at the end of each session of a call, from the moment at which the promise resolves.
export async function watchTotals(callId) {
  const totals = { sessions: 0, packets: [0, 0] };
  const sockets = ["COTURN_REDIS_URL", "COTURN_2_REDIS_URL"].map((name) => {
    const { hostname, port } = new URL(variable(name));
    const socket = connect({ host: hostname, port: Number(port) });
    let text = "";
    socket.on("data", (data) => {
      text += data;
      let end = 0;
      for (const { 0: whole, 1: user, 2: received, 3: sent, index } of text.matchAll(TOTAL)) {
        end = index + whole.length;
        if (!user.startsWith(`${callId}.`)) continue;
        totals.sessions += 1;
        totals.packets[0] += Number(received);
        totals.packets[1] += Number(sent);
      }
      text = text.slice(end);
    });
    const subscribed = new Promise((resolve) => socket.once("data", resolve));
    socket.write("PSUBSCRIBE turn/realm/*/total_traffic\r\n");
    return { socket, subscribed };
  });
  await Promise.all(sockets.map(({ subscribed }) => subscribed));
  return { totals, close: () => sockets.forEach(({ socket }) => socket.destroy()) };
}
