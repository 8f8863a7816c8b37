// The code that an app would have: a client typed by docs/openapi.json. It must compile, and its calls must do
// what their types say.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Balance = components["schemas"]["BalanceAnswer"];
type Code = components["schemas"]["Problem"]["code"];

const url = process.env.GATEWAY_URL;
const token = process.env.USER_TOKEN;
assert.ok(url && token, "GATEWAY_URL and USER_TOKEN are set");
const api = createClient<paths>({
  baseUrl: url,
  headers: { authorization: `Bearer ${token}` },
});

const me = await api.GET("/users/me");
assert.ok(me.data, JSON.stringify(me.error));
const username: string = me.data.username;
console.log(`logged in as ${username}`);

const recharged = await api.POST("/calls/recharge", {
  body: { amount_rupees: 150, payment_method: "upi" },
  params: { header: { "idempotency-key": crypto.randomUUID() } },
});
assert.ok(recharged.data, JSON.stringify(recharged.error));
const coins: number = recharged.data.coins_added;
assert.equal(coins, 300);

const balance = await api.GET("/wallet/balance");
assert.ok(balance.data, JSON.stringify(balance.error));
const held: Balance = balance.data;
assert.equal(held.balance_coins, recharged.data.new_balance);

const feed = await api.GET("/feed/listeners", {
  params: { query: { online_only: true, sort_by: "recent", per_page: 5 } },
});
assert.ok(feed.data, JSON.stringify(feed.error));
for (const listener of feed.data.listeners) {
  const rating: number = listener.rating;
  assert.equal(typeof rating, "number");
}

const current = await api.GET("/calls/current");
assert.ok(current.data, JSON.stringify(current.error));
assert.equal(current.data.call_id, null);
const ring: components["schemas"]["StartBody"] = { listener_id: 1, call_type: "audio", ring: true };
assert.equal(ring.ring, true);

const nobody = await api.GET("/users/{user_id}/presence", {
  params: { path: { user_id: Number.MAX_SAFE_INTEGER } },
});
assert.equal(nobody.response.status, 404);
const code: Code | undefined = nobody.error?.code;
assert.equal(code, "user_not_found");

// @ts-expect-error A call has a type that the document knows.
const mistyped: components["schemas"]["StartBody"] = { listener_id: 1, call_type: "telepathy" };
assert.ok(mistyped);
console.log("the typed client works");
