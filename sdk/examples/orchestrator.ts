// Starts agents in sandboxes: each has a session of its own and holds no credential.
//
//   npx tsx orchestrator.ts 3 curl -s https://api.github.com/user
//
// SORTIE_API_URL and SORTIE_API_KEY say where control is and who asks; SORTIE_AGENT and SORTIE_VAULT, whose sessions they
// are and what they may use. A sandbox here is a process with an empty environment and a folder of its own; with
// containers, `session.proxyEnv(folder, { inside: "/run/sortie" })` writes the files for a volume and answers with the
// variables for `docker run -e` or a pod.
//
// No line of it is more than JavaScript: Node.js 22.18 and later run it as it is, `node orchestrator.ts …`.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { Sortie } from "@sortie/sdk";

const [count = "1", program = "env", ...args] = process.argv.slice(2);
const folder = await mkdtemp(path.join(tmpdir(), "agents-"));

// One call for all of them: all are minted, or none.
const sessions = await new Sortie().mintSessions(Number(count), {
  agent: process.env.SORTIE_AGENT,
  vaults: [process.env.SORTIE_VAULT ?? "default"],
  ttl: 15 * 60,
  labels: { "started-by": "orchestrator.ts" },
});

try {
  const codes = await Promise.all(
    sessions.map(async (session) => {
      // The base is not this process's environment: an agent sees nothing of it, least of all the API key.
      const base = { PATH: "/usr/local/bin:/usr/bin:/bin" };
      const env = await session.childEnv(path.join(folder, session.id), { base });
      const [code] = await once(spawn(program, args, { env, stdio: "inherit" }), "close");
      return code;
    }),
  );
  const failed = codes.filter((code) => code !== 0).length;
  console.error(`${sessions.length} agents, ${failed} failed, all sessions revoked`);
  process.exitCode = failed ? 1 : 0;
} finally {
  await Promise.all(sessions.map((session) => session.revoke()));
  await rm(folder, { recursive: true });
}
