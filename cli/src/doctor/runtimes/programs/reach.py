# One request with the module that is named; prints what arrived.
import importlib
import sys

module, url = sys.argv[1:3]
try:
    client = importlib.import_module(module)
except ImportError:
    print("absent")
    sys.exit()


def tell(status, names):
    print("reached", status, ",".join(names))


if module == "urllib.request":
    import urllib.error

    try:
        with client.urlopen(url, timeout=20) as answer:
            tell(answer.status, answer.headers.keys())
    except urllib.error.HTTPError as answer:
        tell(answer.code, answer.headers.keys())
else:
    answer = client.get(url, timeout=20)
    tell(answer.status_code, answer.headers.keys())
