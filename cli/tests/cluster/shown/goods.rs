//! What the vendors' hosts hold: a private repository, private packages. Made by the tools that people make them with.

use super::super::support::Cluster;

/// Makes it all in the folder of the sites.
const SCRIPT: &str = r#"
set -eu
sites="$PWD/upstream/sites"
mkdir -p "$sites/github.com/acme" "$sites/api.github.com/acme"

git init -q -b main seed
echo 'Private.' > seed/README.md
git -C seed add README.md
git -C seed -c user.name=Acme -c user.email=dev@acme.example commit -q -m 'Bill nobody twice'
git clone -q --bare seed "$sites/github.com/acme/billing.git"
echo '{"private": true, "default_branch": "main"}' > "$sites/api.github.com/acme/billing.json"

npm_package() {
  package="$sites/$1/$2/1.0.0"
  mkdir -p "$package/package"
  printf '{"name": "%s", "version": "1.0.0", "main": "index.js"}\n' "$2" > "$package/package.json"
  cp "$package/package.json" "$package/package/"
  printf 'exports.greeting = "%s";\n' "$3" > "$package/package/index.js"
  tar -C "$package" -czf "$package/package.tgz" package
  rm -r "$package/package"
}
npm_package registry.npmjs.org @acme/ledger 'a private package'
npm_package npm.corp.example @corp/tools 'a private package of a private registry'

mkdir -p "$sites/pypi.corp.example/acme-ledger"
cd "$sites/pypi.corp.example/acme-ledger"
python3 -c '
import base64, hashlib, zipfile
info = "acme_ledger-1.0.0.dist-info"
files = {
    "acme_ledger.py": "greeting = \"a private wheel\"\n",
    f"{info}/METADATA": "Metadata-Version: 2.1\nName: acme-ledger\nVersion: 1.0.0\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
def record(name, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(text)}\n"
lines = "".join(record(*file) for file in files.items())
with zipfile.ZipFile("acme_ledger-1.0.0-py3-none-any.whl", "w") as wheel:
    for name, text in [*files.items(), (f"{info}/RECORD", f"{lines}{info}/RECORD,,\n")]:
        wheel.writestr(name, text)
'
"#;

pub(super) async fn make(cluster: &Cluster) {
    cluster.run("sh", &["-c", SCRIPT], &[]).await.ok();
}
