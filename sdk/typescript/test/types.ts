// Compiled and never run: the types say what people write.

import { RequirementUnmet, Session, Sortie, SortieError, type MintedSession, type SessionView } from "@sortie/sdk";

export async function use(): Promise<void> {
  const sortie = new Sortie({ url: "https://control.example.com", apiKey: "…", tenant: "acme", timeout: 1_000 });
  const session: Session = await sortie.mintSession({ vaults: ["default"], ttl: 600, labels: { run: "7" }, require: ["github"] });
  const environment: Record<string, string> = await session.proxyEnv("/tmp/agent", { inside: "/run/sortie" });
  await session.childEnv("/tmp/agent", { base: process.env });
  const sessions: Session[] = await sortie.mintSessions(10, { proxyUrl: "http://gateway:7380" });
  await sortie.mintSessions([{ agent: "runner" }, { user: "ann" }], { vaults: ["default"] });
  const renewed: MintedSession = await sortie.renew(session, 600);
  await session.renew();
  for await (const view of sortie.listSessions({ agent: "runner" })) {
    const labels: Record<string, string> = (view satisfies SessionView).labels;
    console.log(labels, environment, renewed.id, sessions.length, session.expiresAt.getTime());
  }
  await sortie.api.putCredential("default", "TOKEN", { value: "…", destinations: [{ host: "api.github.com" }] });
  const page = await sortie.api.listServices("default", { page_size: 10 });
  console.log(page.services[0]?.spec?.host, page.next_page_token);
  try {
    await sortie.revoke(session.id);
  } catch (error) {
    if (error instanceof RequirementUnmet || error instanceof SortieError) {
      console.log(error.code, error.detail, error.requestId, error.errors.map((one) => one.message));
    }
  }
  // @ts-expect-error a session is minted, not made
  new Session();
  // @ts-expect-error there is no such option
  await sortie.mintSession({ vault: "default" });
  // @ts-expect-error a list of names
  await sortie.mintSession({ require: "github" });
}
