#!/usr/bin/env python3
"""Packs what `scripts/dist` staged: a tarball, a wheel, an npm package, and SHA256SUMS over them.

Only Python's own library, and npm for its package. The same stage and the same SOURCE_DATE_EPOCH give the same bytes:
names are sorted, owners are nobody, times are that one.
"""

import argparse
import base64
import gzip
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

PROGRAMS = ["sortie", "sortie-control", "sortie-gateway"]
HOMEPAGE = "https://github.com/sortie-dev/sortie"
SUMMARY = "A credential broker for AI agents: the sortie command, with the programs of a cluster"
ABOUT = f"""# Sortie

Sortie is a credential broker for AI agents. An agent in a sandbox holds a session token and no other secret; its HTTP
traffic goes out through a gateway, which puts the real credential into the request and masks it in what comes back.

This package carries three programs: `sortie`, the command; `sortie-control` and `sortie-gateway`, the cluster.
`sortie dev` starts all of it on one machine and shows a brokered request; it needs PostgreSQL's server programs and
curl. More is at <{HOMEPAGE}>.
"""
# For each platform: npm's os and cpu, and the architecture in a wheel's tag.
PLATFORMS = {
    "x86_64-unknown-linux-gnu": ("linux", "x64", "x86_64"),
    "aarch64-unknown-linux-gnu": ("linux", "arm64", "aarch64"),
    "x86_64-apple-darwin": ("darwin", "x64", "x86_64"),
    "aarch64-apple-darwin": ("darwin", "arm64", "arm64"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--level", type=int, choices=range(1, 10), default=9)
    parser.add_argument("--only", action="append", choices=["tarball", "wheel", "npm"])
    options = parser.parse_args()
    kinds = {"tarball": tarball, "wheel": wheel, "npm": npm}
    made = [kinds[kind](options) for kind in options.only or kinds]
    made = [path for path in made if path is not None]
    write_sums(options.out, made)
    for path in made:
        print(path)


def epoch():
    return int(os.environ["SOURCE_DATE_EPOCH"])


def tarball(options):
    """Everything below one folder, as it will stand below a prefix."""
    name = f"sortie-{options.version}-{options.platform}"
    path = options.out / f"{name}.tar.gz"

    def entry(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = epoch()
        info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        return info

    # The name and the time in gzip's own header would differ.
    with open(path, "wb") as file, gzip.GzipFile("", "wb", options.level, file, epoch()) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(options.stage, name, recursive=False, filter=entry)
            for below in sorted(options.stage.rglob("*")):
                archive.add(below, f"{name}/{below.relative_to(options.stage)}", recursive=False, filter=entry)
    return path


def wheel(options):
    """The programs as scripts, so that an installer puts them where commands stand (PEP 427)."""
    base = f"sortie_cli-{options.version}"
    tag = f"py3-none-{wheel_platform(options)}"
    path = options.out / f"{base}-{tag}.whl"
    info = f"{base}.dist-info"
    metadata = "\n".join(
        [
            "Metadata-Version: 2.4",
            "Name: sortie-cli",
            f"Version: {options.version}",
            f"Summary: {SUMMARY}",
            "License-Expression: Apache-2.0",
            "License-File: LICENSE",
            f"Project-URL: Homepage, {HOMEPAGE}",
            "Requires-Python: >=3.8",
            "Description-Content-Type: text/markdown",
            "",
            ABOUT,
        ]
    )
    about = f"Wheel-Version: 1.0\nGenerator: sortie-dist\nRoot-Is-Purelib: false\nTag: {tag}\n"
    records = []
    stamp = time.gmtime(max(epoch(), 315532800))[:6]  # a zip knows no time before 1980
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=options.level) as archive:

        def add(name, content, mode=0o644, recorded=True):
            entry = zipfile.ZipInfo(name, stamp)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: the upper half of external_attr is a mode
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)
            if recorded:
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                records.append(f"{name},sha256={digest},{len(content)}")

        for program in PROGRAMS:
            content = (options.stage / "bin" / program).read_bytes()
            add(f"{base}.data/scripts/{program}", content, 0o755)
        for page in sorted((options.stage / "share/man/man1").iterdir()):
            add(f"{base}.data/data/share/man/man1/{page.name}", page.read_bytes())
        add(f"{info}/licenses/LICENSE", (options.stage / "LICENSE").read_bytes())
        add(f"{info}/METADATA", metadata.encode())
        add(f"{info}/WHEEL", about.encode())
        # The record does not hold itself.
        record = "\n".join([*records, f"{info}/RECORD,,", ""])
        add(f"{info}/RECORD", record.encode(), recorded=False)
    return path


def wheel_platform(options):
    """The oldest system that the programs run on, in the words of PEP 600."""
    _, _, machine = PLATFORMS[options.platform]
    if options.platform.endswith("-apple-darwin"):
        return f"macosx_{'11_0' if machine == 'arm64' else '10_12'}_{machine}"
    return f"manylinux_2_{glibc(options.stage)}_{machine}"


def glibc(stage):
    """The newest version of glibc's symbols that a program names. Text that only looks like one makes it too new."""
    found = set()
    for program in PROGRAMS:
        content = (stage / "bin" / program).read_bytes()
        found.update(int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d{1,3})(?:\.\d+)?\0", content))
    if not found:
        sys.exit("pack: no program names a version of glibc: is the stage of another platform?")
    return max(found)


def npm(options):
    """The programs as commands of a package for one system and processor."""
    if shutil.which("npm") is None:
        print("pack: npm is not installed: its package is left out", file=sys.stderr)
        return None
    system, processor, _ = PLATFORMS[options.platform]
    manifest = {
        "name": "@sortie/cli",
        "version": options.version,
        "description": SUMMARY,
        "license": "Apache-2.0",
        "homepage": HOMEPAGE,
        "repository": {"type": "git", "url": f"git+{HOMEPAGE}.git"},
        "os": [system],
        "cpu": [processor],
        "bin": {program: f"bin/{program}" for program in PROGRAMS},
        "man": [],
        "files": ["bin", "man"],
    }
    if system == "linux":
        manifest["libc"] = ["glibc"]
    with tempfile.TemporaryDirectory() as folder:
        package = pathlib.Path(folder)
        (package / "bin").mkdir()
        for program in PROGRAMS:
            shutil.copy(options.stage / "bin" / program, package / "bin" / program)
        shutil.copytree(options.stage / "share/man/man1", package / "man")
        manifest["man"] = [f"man/{page.name}" for page in sorted((package / "man").iterdir())]
        shutil.copy(options.stage / "LICENSE", package / "LICENSE")
        (package / "README.md").write_text(ABOUT)
        (package / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
        destination = options.out.resolve()
        done = subprocess.run(
            ["npm", "pack", "--json", "--offline", "--pack-destination", str(destination)],
            cwd=package,
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "npm_config_cache": str(package / "cache"), "npm_config_update_notifier": "false"},
        )
        made = destination / json.loads(done.stdout)[0]["filename"]
    # One for each platform: npm's own name does not say which.
    path = options.out / f"sortie-cli-{options.version}-{system}-{processor}.tgz"
    made.replace(path)
    return path


def write_sums(out, made):
    """One line a file, as `sha256sum -c` reads them. Files of other platforms keep their lines."""
    path = out / "SHA256SUMS"
    lines = {}
    if path.exists():
        for line in path.read_text().splitlines():
            digest, name = line.split(maxsplit=1)
            if (out / name).exists():
                lines[name] = digest
    for file in made:
        lines[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(lines.items())))


if __name__ == "__main__":
    main()
