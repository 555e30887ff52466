#!/usr/bin/env python3
"""Starts agents in sandboxes: each has a session of its own and holds no credential.

    orchestrator.py --agents 3 --require github -- curl -s https://api.github.com/user

SORTIE_API_URL and SORTIE_API_KEY say where control is and who asks. A sandbox here is a process with an empty
environment and a folder of its own; with containers, `session.proxy_env(folder, inside="/run/sortie")` writes the files
for a volume and answers with the variables for `docker run -e` or a pod.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from sortie import RequirementUnmet, Sortie


def main() -> int:
    parser = argparse.ArgumentParser(description="Starts agents behind Sortie.")
    parser.add_argument("--agents", type=int, default=3, help="how many to start")
    parser.add_argument("--agent", default="", help="whose sessions they are; not needed with an agent's own key")
    parser.add_argument("--vault", action="append", help="a vault that they may use; may be repeated")
    parser.add_argument("--require", action="append", default=[], help="a service that must be usable; may be repeated")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()

    sortie = Sortie()
    try:
        # One call for all of them: all are minted, or none.
        sessions = sortie.mint_sessions(
            options.agents,
            agent=options.agent,
            vaults=options.vault or ["default"],
            require=options.require,
            ttl=15 * 60,
            labels={"started-by": "orchestrator.py"},
        )
    except RequirementUnmet as error:
        print(error, file=sys.stderr)
        return 1

    try:
        with tempfile.TemporaryDirectory() as folder:
            # The base is not this process's environment: an agent sees nothing of it, least of all the API key.
            children = [
                subprocess.Popen(
                    options.command,
                    env=session.child_env(Path(folder, session.id), base={"PATH": "/usr/local/bin:/usr/bin:/bin"}),
                )
                for session in sessions
            ]
            failed = sum(child.wait() != 0 for child in children)
    finally:
        for session in sessions:
            session.revoke()
    print(f"{len(sessions)} agents, {failed} failed, all sessions revoked", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
