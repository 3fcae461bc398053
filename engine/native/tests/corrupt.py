#!/usr/bin/env python3
"""Runs an engine on damaged copies of a pack: it must fail with one line on stderr, or work; never die of a signal.

  corrupt.py ENGINE PACK TOKENS WORKDIR [--seed 1 --count 150]
"""
import argparse
import os
import random
import struct
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser()
    for name in ("engine", "pack", "tokens", "work"):
        parser.add_argument(name)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=150)
    a = parser.parse_args()
    rng = random.Random(a.seed)
    good = open(a.pack, "rb").read()
    head = good.rindex(b"ffn_down.weight") + 64  # nearly all keys and tensors stand before
    cases = [("cut %d" % n, good[:n], True) for n in (0, 3, 4, 8, 23, 24, 40, head // 2, head, len(good) - 40000)]
    cases += [("cut %d" % n, good[:n], True) for n in (rng.randrange(len(good) - 4096) for _ in range(a.count // 3))]
    for _ in range(a.count // 3):
        at, bit = rng.randrange(head), rng.randrange(8)
        cases.append(("bit %d of byte %d" % (bit, at), good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1:], False))
    for _ in range(a.count // 3):  # huge, zero and negative numbers where lengths, counts and sizes stand
        at = rng.randrange(8, head)
        value = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1))
        cases.append(("u64 %d at %d" % (value, at), good[:at] + struct.pack("<Q", value) + good[at + 8:], False))
    bad = 0
    path, out = os.path.join(a.work, "damaged.gguf"), os.path.join(a.work, "damaged.out")
    for name, data, must_fail in cases:
        with open(path, "wb") as f:
            f.write(data)
        r = subprocess.run([a.engine, "logits", "--model", path, "--tokens", a.tokens, "--count", "3", "--out", out],
                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout=120)
        lines = r.stderr.decode("utf-8", "replace").splitlines()
        if r.returncode not in (0, 1) or (r.returncode == 1 and len(lines) != 1) or (must_fail and r.returncode == 0):
            bad += 1
            print("%s: exit %d, %s" % (name, r.returncode, lines[:12]))
    print("%d damaged files, %d wrong" % (len(cases), bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
