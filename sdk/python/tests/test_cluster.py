"""The SDK against a running cluster. `SORTIE_API_URL` and `SORTIE_API_KEY_FILE` say where, as for everyone.

The tenant has an agent `runner`, a vault `main` with a grant for it, and in it a service `api` that covers
`SORTIE_TEST_TARGET` and works with the credential `API_KEY`, and the bundle `npm`, with its registry at
`SORTIE_TEST_REGISTRY`. cli/tests/cluster/sdks.rs makes all that and runs this.
"""

import os
import subprocess
import sys
import tempfile
import unittest
from email.utils import format_datetime
from datetime import datetime, timedelta, timezone
from pathlib import Path

from flaky import Flaky
from sortie import (
    BATCH_MAX,
    Conflict,
    ConnectionFailed,
    InvalidArgument,
    NotFound,
    RequirementUnmet,
    Sortie,
    Unauthenticated,
    Unavailable,
    models,
    session_spec,
)
from sortie._transport import Transport
from sortie.operations import Operations

URL = os.environ["SORTIE_API_URL"]
KEY = Path(os.environ["SORTIE_API_KEY_FILE"]).read_text().strip()
TARGET = os.environ["SORTIE_TEST_TARGET"]
REGISTRY = os.environ["SORTIE_TEST_REGISTRY"]

# What an agent does: it knows nothing of Sortie.
AGENT = """
import os, sys, urllib.error, urllib.request
assert not [name for name in os.environ if name.startswith("SORTIE_")]
request = urllib.request.Request(sys.argv[1], headers={"authorization": "Bearer " + os.environ["API_KEY"]})
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status)
except OSError as error:
    print(error)
"""


# What npm does: its token stands in the file that its own variable names.
NPM = """
import os, sys, urllib.request
with open(os.environ["NPM_CONFIG_USERCONFIG"]) as file:
    key, _, token = file.read().strip().partition("=")
assert key == "//registry.npmjs.org/:_authToken" and token == os.environ["NPM_TOKEN"], key
request = urllib.request.Request(sys.argv[1], headers={"authorization": "Bearer " + token})
with urllib.request.urlopen(request, timeout=30) as answer:
    print(answer.status)
"""


def run(environment, target=TARGET, program=AGENT):
    """Runs an agent in its environment; answers with what it saw."""
    command = [sys.executable, "-c", program, target]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.stdout.decode()


class Case(unittest.TestCase):
    def setUp(self):
        self.sortie = Sortie()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def ids(self, **options):
        return {view.id for view in self.sortie.list_sessions(**options)}


class Sessions(Case):
    def test_an_agent_works_with_what_proxy_env_says_until_its_session_ends(self):
        with self.sortie.mint_session(
            vaults=["main"], agent="runner", ttl=timedelta(minutes=5), labels={"run": "py"}, require=["api"]
        ) as session:
            environment = session.child_env(self.folder / "agent")
            self.assertEqual(run(environment).strip(), "200")
            view = next(view for view in self.sortie.list_sessions(agent="runner") if view.id == session.id)
            self.assertEqual(view.labels, {"run": "py"})
            self.assertGreater(session.expires_at, datetime.now(timezone.utc))
        self.assertNotIn(session.id, self.ids())
        self.assertIn(session.id, self.ids(include_ended=True))
        # The gateway hears of it a moment later; a new process asks each time.
        for _ in range(200):
            refused = run(environment)
            if "200" not in refused:
                break
        self.assertIn("407", refused)

    def test_a_known_tool_finds_its_file(self):
        with self.sortie.mint_session(vaults=["main"], agent="runner", require=["npm"]) as session:
            place = self.folder / "agent"
            environment = session.child_env(place)
            self.assertEqual(environment["NPM_CONFIG_USERCONFIG"], str(place / "npmrc"))
            self.assertEqual(session.files()["npmrc"], (place / "npmrc").read_bytes())
            self.assertEqual(run(environment, REGISTRY, NPM).strip(), "200")

    def test_a_renewed_session_has_another_token_and_the_old_one_works_too(self):
        session = self.sortie.mint_session(vaults=["main"], agent="runner", ttl=120)
        before, old, end = session.child_env(self.folder / "a"), session.token, session.expires_at
        session.renew(600)
        self.assertNotEqual(session.token, old)
        self.assertGreater(session.expires_at, end)
        after = session.child_env(self.folder / "a")
        self.assertIn(session.token, after["HTTPS_PROXY"])
        self.assertNotIn(old, str(after))
        for environment in (before, after):
            self.assertEqual(run(environment).strip(), "200")
        session.revoke()
        session.revoke()

    def test_a_session_without_an_environment_is_a_token(self):
        session = self.sortie.mint_session(vaults=["main"], agent="runner", environment=False)
        self.assertTrue(session.token.startswith("sortie_ses_"))
        with self.assertRaises(ValueError):
            session.proxy_env(self.folder)

    def test_more_sessions_than_a_batch_take_several_calls(self):
        sessions = self.sortie.mint_sessions(BATCH_MAX + 2, vaults=["main"], agent="runner", ttl=60)
        self.assertEqual(len({session.id for session in sessions}), BATCH_MAX + 2)
        # The files came with the first batch alone.
        self.assertEqual(sessions[0].files(), sessions[-1].files())
        self.assertEqual(run(sessions[-1].child_env(self.folder / "last")).strip(), "200")
        self.assertEqual(self.sortie.mint_sessions(0), [])

    def test_sessions_of_different_vaults_come_in_their_order(self):
        self.sortie.api.create_vault(models.CreateVault(name="side"))
        self.sortie.api.put_grant("side", "runner", models.PutGrant(role="user"))
        wanted = [["main"], ["side"], ["main"], ["side", "main"]]
        specs = [session_spec(vaults, "runner", labels={"n": str(n)}) for n, vaults in enumerate(wanted)]
        sessions = self.sortie.mint_sessions(specs)
        views = {view.id: view for view in self.sortie.list_sessions()}
        self.assertEqual([views[session.id].labels["n"] for session in sessions], ["0", "1", "2", "3"])
        self.assertEqual([len(views[session.id].vaults) for session in sessions], [1, 1, 1, 2])
        variables = [session.variables("/x") for session in sessions]
        self.assertEqual([one.get("API_KEY") for one in variables], ["__API_KEY__", None, "__API_KEY__", "__API_KEY__"])


class Errors(Case):
    def test_what_is_required_and_missing_is_told_with_its_command(self):
        with self.assertRaises(RequirementUnmet) as caught:
            self.sortie.mint_session(vaults=["main"], agent="runner", require=["api", "none"])
        error = caught.exception
        self.assertEqual((error.status, error.code), (412, "requirement_unmet"))
        self.assertEqual([one.field for one in error.errors], ["require[1]"])
        self.assertIn("sortie service set none --vault main", str(error))
        self.assertIn(error.request_id, str(error))
        self.assertTrue(error.request_id)

    def test_errors_have_types(self):
        with self.assertRaises(NotFound):
            self.sortie.revoke("ses_01jz0000000000000000000000")
        with self.assertRaises(InvalidArgument) as caught:
            self.sortie.mint_sessions(2, vaults=["main"], agent="runner", ttl=1)
        self.assertEqual(caught.exception.errors[0].field, "sessions[0].ttl_seconds")
        with self.assertRaises(Conflict):
            self.sortie.api.create_vault(models.CreateVault(name="main"))
        with self.assertRaises(Unauthenticated) as caught:
            Sortie(URL, "sortie_key_canary").mint_session()
        self.assertNotIn("canary", str(caught.exception))
        with self.assertRaises(ConnectionFailed):
            Sortie("http://127.0.0.1:1", KEY, attempts=2).mint_session()

    def test_what_is_read_can_be_put(self):
        service = self.sortie.api.get_service("main", "api")
        self.assertEqual(self.sortie.api.put_service("main", "copy", models.ServiceSpec(host="copy.up.test")).name, "copy")
        again = self.sortie.api.put_service("main", "api", service.spec)
        self.assertEqual(again.spec, service.spec)
        self.sortie.api.delete_service("main", "copy")


class Tries(unittest.TestCase):
    """Tries against the real control, behind something that fails first."""

    def call(self, faults, body="mint", attempts=4):
        self.pauses = []
        with Flaky(URL, faults) as flaky:
            transport = Transport(
                flaky.url, KEY, timeout=30, attempts=attempts, ca_file=None, allow_http=False, sleep=self.pauses.append
            )
            api = Operations(transport, "-")
            try:
                if body == "mint":
                    spec = models.MintSession(agent="runner", vaults=["main"])
                    return api.mint_session(spec).id
                return api.create_agent(models.CreateAgent(name=body)).key
            finally:
                self.asked = flaky.asked

    def test_a_mint_is_tried_again(self):
        for fault in [(502, {}), (503, {}), (504, {}), (429, {}), "break"]:
            self.assertTrue(self.call([fault, fault]).startswith("ses_"))
            self.assertEqual(self.asked, 3)

    def test_the_pause_is_random_below_a_bound_that_doubles(self):
        for _ in range(20):
            self.call([(503, {})] * 3)
            for pause, bound in zip(self.pauses, [0.2, 0.4, 0.8]):
                self.assertTrue(0 <= pause <= bound, pause)

    def test_retry_after_is_waited_for_in_both_forms(self):
        self.call([(503, {"retry-after": "7"})])
        self.assertTrue(7 <= self.pauses[0] <= 7.2, self.pauses)
        then = datetime.now(timezone.utc) + timedelta(seconds=50)
        self.call([(429, {"retry-after": format_datetime(then, usegmt=True)})])
        self.assertTrue(0 < self.pauses[0] <= 50.2, self.pauses)
        with self.assertRaises(Unavailable) as caught:
            self.call([(503, {"retry-after": "3600"})])
        self.assertEqual((self.asked, caught.exception.retry_after), (1, 3600))

    def test_tries_have_an_end(self):
        with self.assertRaises(Unavailable) as caught:
            self.call([(502, {})] * 9, attempts=3)
        self.assertEqual((self.asked, caught.exception.code), (3, ""))

    def test_what_shows_a_key_once_is_not_done_twice(self):
        for number, fault in enumerate([(503, {}), "break"]):
            with self.assertRaises((Unavailable, ConnectionFailed)):
                self.call([fault], body=f"once-{number}")
            self.assertEqual(self.asked, 1)
        # 429 says that nothing was done.
        self.assertTrue(self.call([(429, {})], body="limited").startswith("sortie_agt_"))


if __name__ == "__main__":
    unittest.main()
