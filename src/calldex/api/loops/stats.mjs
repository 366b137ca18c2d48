import { rename, writeFile } from "node:fs/promises";

const { CALLDEX_URL: url, CALLDEX_KEY: key } = process.env;
const query = new URLSearchParams({ type: "inbound", group_by: "queue", measures: "calls,answered_rate" });
const reply = await fetch(`${url}/api/v2/cdr/stats?${query}`, { headers: { Authorization: `Bearer ${key}` } });
if (!reply.ok) throw new Error(await reply.text());
await writeFile("stats.half", JSON.stringify(await reply.json()));
await rename("stats.half", "stats.json");
