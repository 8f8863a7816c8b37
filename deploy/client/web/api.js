// Requests to the platform: login by one-time password, tokens, and the replicas of the gateway.

const REQUEST_TIMEOUT_MS = 15_000;

export class ApiClient {
  /// `gateways` are addresses of the same gateway. Each is used until it cannot be reached.
  constructor(gateways, phone) {
    Object.assign(this, { gateways, phone });
    // A reload of the page keeps the login; another window has one of its own.
    this.tokens = JSON.parse(sessionStorage.getItem(phone));
  }

  useNextGateway() {
    this.gateways.push(this.gateways.shift());
  }

  /// Sends a request and returns the body. One that reached no gateway goes to the next: a request that changes
  /// something is idempotent, or has an idempotency key.
  async send(method, path, body, headers, attemptsLeft = this.gateways.length) {
    try {
      return await this.sendOnce(method, path, body, headers);
    } catch (error) {
      if (attemptsLeft === 0 || (error.problem && error.problem !== "token_expired")) throw error;
      await (error.problem ? this.refresh() : this.useNextGateway());
      return this.send(method, path, body, headers, attemptsLeft - 1);
    }
  }

  async sendOnce(method, path, body, headers) {
    const authorization = this.tokens && { authorization: `Bearer ${this.tokens.access_token}` };
    const response = await fetch(this.gateways[0] + path, {
      method,
      headers: { "content-type": "application/json", ...authorization, ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const answer = await response.json().catch(() => ({}));
    // The code of a problem is for programs, and its detail for people.
    if (!response.ok) throw Object.assign(new Error(answer.detail), { problem: answer.code ?? "unknown" });
    return answer;
  }

  async logIn(phone, otp) {
    const verified = await this.send("POST", "/auth/verify", { phone, otp });
    if (verified.status !== "registered") throw new Error(`${phone} has no account.`);
    this.phone = phone;
    this.storeTokens(verified);
  }

  /// Exchanges the refresh token for a new pair, once for all requests that find their token expired at the same time. An
  /// access token lives for half an hour.
  refresh() {
    const { refresh_token } = this.tokens;
    const exchange = async () => this.storeTokens(await this.send("POST", "/auth/refresh", { refresh_token }));
    this.exchange ??= exchange().finally(() => (this.exchange = null));
    return this.exchange;
  }

  storeTokens(tokens) {
    this.tokens = tokens;
    sessionStorage.setItem(this.phone, JSON.stringify(tokens));
  }
}
