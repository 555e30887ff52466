"""What needs no cluster: where the key may not show, which folders are refused, what a model is as JSON."""

import os
import pickle
import socket
import tempfile
import traceback
import unittest
from datetime import timedelta
from pathlib import Path
from unittest import mock

from sortie import ConnectionFailed, Session, Sortie, models, session_spec
from sortie.session import Surroundings

KEY = "sortie_key_canary_of_the_tests"
AWAY = "http://127.0.0.1:1"


def session(folder="/marker", files=()):
    minted = models.MintedSession(
        id="ses_1", token="sortie_ses_canary", expires_at="2030-01-01T00:00:00.123456789Z", proxy_url="http://x:sortie_ses_canary@gw:1"
    )
    around = Surroundings(folder, {"PIP_CERT": f"{folder}/bundle.pem", "TOKEN": "__TOKEN__"}, ["HTTPS_PROXY"], list(files))
    return Session(Sortie(AWAY, KEY), minted, around)


CA = models.EnvironmentFile(path="ca.pem", content="certificate\n", mode="0644")


class Keys(unittest.TestCase):
    def test_a_key_shows_nowhere(self):
        sortie = Sortie(AWAY, KEY, attempts=1)
        shown = [repr(sortie), str(sortie), repr(sortie.api), repr(session())]
        with self.assertRaises(ConnectionFailed) as caught:
            sortie.mint_session()
        shown += [repr(caught.exception), str(caught.exception), "".join(traceback.format_exception(caught.exception.__class__, caught.exception, caught.exception.__traceback__))]
        for text in shown:
            self.assertNotIn("canary", text)
        self.assertIsNone(caught.exception.__cause__)

    def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(self):
        for key in ["canary\nX: y", "canary é", " "]:
            with self.assertRaises(ValueError) as caught:
                Sortie(AWAY, key)
            self.assertNotIn("canary", str(caught.exception))

    def test_a_key_comes_from_the_environment_or_a_file(self):
        with mock.patch.dict(os.environ, {}, clear=True), self.assertRaises(ValueError):
            Sortie(AWAY)
        with mock.patch.dict(os.environ, {"SORTIE_API_KEY": KEY}, clear=True):
            Sortie(AWAY)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "key")
            file.write_text(KEY + "\n")
            with mock.patch.dict(os.environ, {"SORTIE_API_KEY_FILE": str(file)}, clear=True):
                Sortie(AWAY)

    def test_a_key_is_not_sent_in_the_clear_to_another_machine(self):
        with self.assertRaises(ValueError):
            Sortie("http://control.example.com", KEY)
        Sortie("http://control.example.com", KEY, allow_http=True)
        Sortie("https://control.example.com", KEY)
        for url in ["ftp://127.0.0.1", "127.0.0.1:7300", "http://user:canary@127.0.0.1"]:
            with self.assertRaises(ValueError) as caught:
                Sortie(url, KEY)
            self.assertNotIn("canary", str(caught.exception))

    def test_a_session_is_not_pickled(self):
        with self.assertRaises(TypeError):
            pickle.dumps(session())


class Folders(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_files_are_written_for_this_user_and_variables_name_them(self):
        target = Path(self.folder.name, "a b", "agent")
        variables = session(files=[CA]).proxy_env(target)
        self.assertEqual(variables["PIP_CERT"], f"{target}/bundle.pem")
        self.assertEqual(variables["HTTPS_PROXY"], "http://x:sortie_ses_canary@gw:1")
        self.assertEqual((target / "ca.pem").read_text(), "certificate\n")
        self.assertEqual(target.stat().st_mode & 0o777, 0o700)
        self.assertEqual([file.name for file in target.iterdir()], ["ca.pem"])

    def test_a_jvm_is_not_told_a_folder_that_it_would_split(self):
        environment = {"JAVA_TOOL_OPTIONS": "-Djavax.net.ssl.trustStore=/marker/trust.p12"}
        around = Surroundings("/marker", environment, [], [])
        with self.assertRaises(ValueError):
            around.variables("", "/a b")
        self.assertEqual(around.variables("", "/ab"), {"JAVA_TOOL_OPTIONS": "-Djavax.net.ssl.trustStore=/ab/trust.p12"})

    def test_a_volume_has_its_own_path_inside(self):
        variables = session(files=[CA]).proxy_env(self.folder.name, inside="/run/sortie/")
        self.assertEqual(variables["PIP_CERT"], "/run/sortie/bundle.pem")
        self.assertEqual(session(files=[CA]).variables("/x")["PIP_CERT"], "/x/bundle.pem")
        self.assertEqual(session(files=[CA]).files(), {"ca.pem": b"certificate\n"})

    def test_a_folder_that_others_may_write_to_is_refused(self):
        os.chmod(self.folder.name, 0o777)
        with self.assertRaises(ValueError):
            session(files=[CA]).proxy_env(self.folder.name)
        self.assertEqual(os.listdir(self.folder.name), [])

    def test_no_file_leaves_the_folder(self):
        for path in ["../x", "/etc/x", "a/../../x", "a/..", "a//b", "a/", "..", ""]:
            evil = models.EnvironmentFile(path=path, content="x", mode="0644")
            with self.assertRaises(ValueError, msg=path):
                session(files=[evil]).proxy_env(Path(self.folder.name, "inner"))

    def test_a_file_may_stand_in_a_folder_of_its_own(self):
        stub = models.EnvironmentFile(path="gh/hosts.yml", content="__TOKEN__", mode="0644")
        target = Path(self.folder.name, "inner")
        for _ in range(2):
            self.assertEqual(session(files=[CA, stub]).write_files(target), target)
        self.assertEqual((target / "gh" / "hosts.yml").read_text(), "__TOKEN__")
        self.assertEqual((target / "gh" / "hosts.yml").stat().st_mode & 0o777, 0o644)
        self.assertEqual(sorted(os.listdir(target / "gh")), ["hosts.yml"])
        # A link would lead the file elsewhere.
        elsewhere = Path(self.folder.name, "elsewhere")
        elsewhere.mkdir()
        linked = Path(self.folder.name, "linked")
        linked.mkdir(mode=0o700)
        (linked / "gh").symlink_to(elsewhere)
        with self.assertRaises(ValueError):
            session(files=[stub]).write_files(linked)
        self.assertEqual(os.listdir(elsewhere), [])

    def test_a_child_gets_no_key(self):
        base = {"PATH": "/bin", "SORTIE_API_KEY": KEY, "sortie_x": "y", "HTTPS_PROXY": "http://other"}
        environment = session(files=[CA]).child_env(Path(self.folder.name, "x"), base=base)
        self.assertNotIn(KEY, str(environment))
        self.assertEqual(environment["PATH"], "/bin")
        self.assertIn("sortie_ses_canary", environment["HTTPS_PROXY"])


class Models(unittest.TestCase):
    def test_what_says_nothing_is_left_out_and_what_does_is_not(self):
        self.assertEqual(models.UpdateTenant(enabled=False).to_json(), {"enabled": False})
        self.assertEqual(session_spec(ttl=timedelta(minutes=2)).to_json(), {"vaults": ["default"], "ttl_seconds": 120})
        wanted = models.MintSession(vaults=["v"], environment=models.EnvironmentSpec())
        self.assertEqual(wanted.to_json(), {"vaults": ["v"], "environment": {}})

    def test_what_is_not_known_is_left_out(self):
        read = models.Revoked.from_json({"revision": "1:2", "new": {"in": "a newer control"}})
        self.assertEqual(read, models.Revoked(revision="1:2"))

    def test_a_name_in_the_place_of_a_list_is_a_mistake(self):
        with self.assertRaises(TypeError):
            session_spec(vaults="default")


class Silence(unittest.TestCase):
    def test_a_server_that_says_nothing_is_not_waited_for_forever(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            with self.assertRaises(ConnectionFailed) as caught:
                Sortie(url, KEY, timeout=0.2, attempts=1).mint_session()
            self.assertIn("too long", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
