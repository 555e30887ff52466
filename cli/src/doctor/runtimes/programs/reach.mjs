// One request with fetch; prints what arrived. For Node.js, Deno and Bun.
const url = globalThis.Deno ? Deno.args[0] : process.argv[2];
try {
  const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(20000) });
  console.log("reached", answer.status, [...answer.headers.keys()].join(","));
} catch (error) {
  console.error(String(error), error.cause ? String(error.cause) : "", error.cause?.code ?? "");
}
