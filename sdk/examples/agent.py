"""An agent of one's own, small but whole: a loop around Anthropic's API with one tool, a shell.

It holds no key. Behind `sortie run` its ANTHROPIC_API_KEY is a placeholder, and the gateway puts the key in:

    sortie service add anthropic
    sortie run -- python3 agent.py 'Which files are here?'

Needs `pip install anthropic`. MODEL names another model.
"""

import os
import subprocess
import sys

import anthropic

SHELL = {
    "name": "bash",
    "description": "Runs a command in bash, and answers with what it prints and its exit code.",
    "input_schema": {
        "type": "object",
        "properties": {"command": {"type": "string"}},
        "required": ["command"],
    },
}
TURNS_MAX = 20
SECONDS_MAX = 120


def run(command: str) -> str:
    try:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        return f"stopped after {SECONDS_MAX} seconds"
    return f"{done.stdout}{done.stderr}" if done.returncode == 0 else f"{done.stdout}{done.stderr}(exit {done.returncode})"


def main() -> int:
    client = anthropic.Anthropic()
    messages = [{"role": "user", "content": " ".join(sys.argv[1:])}]
    for _ in range(TURNS_MAX):
        with client.messages.stream(
            model=os.environ.get("MODEL", "claude-sonnet-5-5"),
            max_tokens=4096,
            tools=[SHELL],
            messages=messages,
        ) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
            answer = stream.get_final_message()
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            print()
            return 0
        results = []
        for call in calls:
            print(f"$ {call.input['command']}", file=sys.stderr)
            results.append({"type": "tool_result", "tool_use_id": call.id, "content": run(call.input["command"])})
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    print(f"no answer after {TURNS_MAX} turns", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except anthropic.APIStatusError as error:
        # A refusal of the gateway says what to do about it.
        sys.exit(f"{error.status_code}: {error.response.text}")
