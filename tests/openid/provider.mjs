// A real OpenID Connect provider (oidc-provider) on a free port of this machine.
//
// Reads one line of JSON from standard input: the client, the people by their logins, and whether ID tokens have all
// claims. Writes one line, its issuer, when it serves, and ends with its standard input. Any password will do.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const lines = createInterface({ input: process.stdin });
const { client, people, inIdToken } = JSON.parse((await once(lines, "line"))[0]);
lines.on("close", () => process.exit(0));

const server = createServer();
server.listen(0, "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: [client],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  conformIdTokenClaims: !inIdToken,
  cookies: { keys: [randomBytes(32).toString("hex")] },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: "one" }] },
  pkce: { required: () => true },
  ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 60, IdToken: 60, Interaction: 60, Session: 60 },
});
server.on("request", provider.callback());
console.log(issuer);
