// Runs one scenario: `node main.js <scenario>`. Its exit code says whether it has passed.
import { BrowserCall } from "./browser.js";
import { scenarios } from "./scenarios.js";

const [, , name] = process.argv;
const call = new BrowserCall();
let failed = false;
try {
  await scenarios[name](call);
} catch (error) {
  failed = true;
  console.error(call.describe(), error);
}
await call.close();
process.exit(failed ? 1 : 0);
