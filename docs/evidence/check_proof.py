"""Check whether a signed checkpoint covers the journal line in a proof.

    python check_proof.py PROOF KEY

PROOF is the file that `weir evidence prove` writes, KEY the line that `weir evidence key` prints. Only Python's
standard library is needed, and neither the recordings nor Weir. Exit code 0: on record. 1: not proven. 2: on record,
but the gateway took the segment over without checking it ("not vouched for").
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]


def point(data: bytes) -> Point:
    """Decode a point of edwards25519 (RFC 8032, 5.1.3)."""
    y = int.from_bytes(data, "little") & (1 << 255) - 1
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or y >= P:
        raise ValueError("not a point")
    return (P - x if x & 1 != data[31] >> 7 else x), y


def add(a: Point, b: Point) -> Point:
    """Add two points."""
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P)
    return x % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P


def times(n: int, a: Point) -> Point:
    """Multiply a point by *n*."""
    total = (0, 1)
    while n:
        total, a, n = (add(total, a) if n & 1 else total), add(a, a), n >> 1
    return total


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Verify an Ed25519 signature (RFC 8032, 5.1.7)."""
    base = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    s = int.from_bytes(signature[32:], "little")
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little")
    return s < L and times(s, base) == add(point(signature[:32]), times(k, point(key)))


def root(leaf: str, index: int, size: int, path: list[str]) -> bytes | None:
    """Compute the root of a Merkle tree from a leaf and its inclusion proof (RFC 9162, 2.1.3.2)."""
    found, last = hashlib.sha256(b"\0" + leaf.encode()).digest(), size - 1
    for step in map(bytes.fromhex, path):
        if index % 2 or index == last:
            found = hashlib.sha256(b"\1" + step + found).digest()
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            found = hashlib.sha256(b"\1" + found + step).digest()
        index, last = index // 2, last // 2
    return found if index == last == 0 else None


def main(file: str, key: str) -> int:
    """Print the result and return the exit code."""
    if key.count("+") < 2:
        print("the key is name+hash+base64, as `weir evidence key` prints it", file=sys.stderr)
        return 1
    proof = json.loads(Path(file).read_text(encoding="utf-8"))
    name, _, encoded = key.strip().split("+", 2)
    text, _, signatures = proof["checkpoint"].rpartition("\n\n")
    signature = next(line.split(" ")[2] for line in signatures.splitlines() if line.split(" ")[1] == name)
    fine = signed(base64.b64decode(encoded)[1:], (text + "\n").encode(), base64.b64decode(signature)[4:])
    line, journal, said = json.loads(proof["line"]), proof["journal"], text.split("\n")
    found = root(proof["line"], journal["index"], journal["size"], journal["path"])
    if "log" in proof:  # the journal was sealed
        entry, log = json.loads(proof["entry"]), proof["log"]
        fine &= found is not None and entry["root"] == found.hex() and entry["lines"] == journal["size"]
        fine &= entry["kind"] == "sealed" and entry["segment"] == journal["name"] == line["segment"]
        top = root(proof["entry"], log["index"], log["size"], log["path"])
        fine &= top is not None and said[1:3] == [str(log["size"]), base64.b64encode(top).decode()]
    else:  # it was still written
        fine &= found is not None
        fine &= f"live {line['segment']} {journal['size']} {base64.b64encode(found or b'').decode()}" in said
    fine &= line["request_id"] == proof["request_id"]
    first = next((int(words[8:]) for words in said if words.startswith("vouched ")), None)  # log entries from here on
    vouched = first is not None and ("log" not in proof or proof["log"]["index"] >= first)
    result = (
        "NOT PROVEN" if not fine else "on record" if vouched else "on record, NOT VOUCHED FOR: taken over as it stood"
    )
    print(f"{result}: {proof['line']}\nsigned {said[-1]}")
    return 1 if not fine else 0 if vouched else 2


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python check_proof.py PROOF KEY")
    sys.exit(main(sys.argv[1], sys.argv[2]))
