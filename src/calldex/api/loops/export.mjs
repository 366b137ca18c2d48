import { createWriteStream } from "node:fs";
import { rename } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

const { CALLDEX_URL: url, CALLDEX_KEY: key } = process.env;
const query = new URLSearchParams({ format: "csv", type: "inbound" });
const reply = await fetch(`${url}/api/v2/cdr/export?${query}`, { headers: { Authorization: `Bearer ${key}` } });
if (!reply.ok) throw new Error(await reply.text());
await pipeline(reply.body, createWriteStream("calls.half")); // fails if the reply is cut off
await rename("calls.half", "calls.csv");
