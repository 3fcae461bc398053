#!/usr/bin/env python3
"""Writes test inputs for aqengine, without any package: packs after docs/packed-model.md, token files, accumulate inputs.

  pack.py pack OUT --precision fp16|bf16|w8a8|w4a8|w4a4[+OPTION...] [--arch llama|opt|bloom --dim 64 --layers 2 --heads 8 --kv 4
                   --ffn 172 --vocab 96 --context 64 --group 32 --seed 1 --tied --rope-freqs --biases
                   --norm-after --width W]                                       random weights
  pack.py big OUT --precision P [...]        the same from a repeating block of random bytes: fast, for speed only
  pack.py quantize IN.gguf OUT --precision P --group G     a real F16 LLaMA GGUF, rounded to nearest
  pack.py tokens IN.i32 OUT --vocab N --bos ID [--adds-bos]
  pack.py random-tokens OUT --vocab N --count N [--seed 1]
  pack.py accumulate OUT EXPECTED --kernel w8a8|w4a8|w4a4|w4a8+asym|w4a4+asym --m M --n N --k K [--group G --seed 1 --extreme]
"""
import argparse
import array
import random
import struct
import sys

from gguffile import F16, F32, I8, half, read_gguf, single, write_gguf
from randompack import add_linear, head_precision, linears, make_pack, shape_keys


def make_big(a):
    """Plausible values without a Python loop over every weight."""
    rng = random.Random(a.seed)
    halves = struct.pack("<8192e", *[rng.gauss(0, 0.03) for _ in range(8192)])
    bytes8 = bytes(rng.randrange(-127, 128) & 255 for _ in range(8191))
    nibbles = bytes(rng.randrange(256) for _ in range(8191))

    def fill(block, size):
        return (block * (size // len(block) + 1))[:size]

    def add(name, k, n, precision):
        if precision == "fp16":
            tensors.append((name + ".weight", F16, (k, n), fill(halves, 2 * k * n)))
        elif precision == "w8a8":
            tensors.append((name + ".weight", I8, (k, n), fill(bytes8, k * n)))
            tensors.append((name + ".scale", F32, (n,), struct.pack("<f", 0.0004) * n))
        else:
            g = a.group or (k + 31) // 32 * 32
            groups = (k + g - 1) // g
            tensors.append((name + ".weight", I8, (groups * g // 2, n), fill(nibbles, groups * g // 2 * n)))
            tensors.append((name + ".scale", F16, (groups, n), struct.pack("<e", 0.006) * (groups * n)))

    norm = struct.pack("<f", 1.0) * a.dim
    tensors = [("token_embd.weight", F16, (a.dim, a.vocab), fill(halves, 2 * a.dim * a.vocab))]
    for i in range(a.layers):
        tensors += [("blk.%d.attn_norm.weight" % i, F32, (a.dim,), norm), ("blk.%d.ffn_norm.weight" % i, F32, (a.dim,), norm)]
        for name, k, n in linears(a):
            add("blk.%d.%s" % (i, name), k, n, a.precision)
    tensors.append(("output_norm.weight", F32, (a.dim,), norm))
    add("output", a.dim, a.vocab, head_precision(a.precision))
    write_gguf(a.out, shape_keys(a), tensors)


def quantize_model(a):
    keys, tensors, read = read_gguf(a.input)
    p = "llama."
    a.dim, a.layers, a.ffn = keys[p + "embedding_length"], keys[p + "block_count"], keys[p + "feed_forward_length"]
    a.heads, a.kv = keys[p + "attention.head_count"], keys[p + "attention.head_count_kv"]
    a.context = keys[p + "context_length"]
    dims, embedding = read("token_embd.weight")
    a.vocab = dims[1]
    out = [("token_embd.weight", F16, dims, struct.pack("<%de" % len(embedding), *embedding))]

    def copy(name):
        d, w = read(name)
        out.append((name, F32, d, struct.pack("<%df" % len(w), *w)))

    for i in range(a.layers):
        copy("blk.%d.attn_norm.weight" % i)
        copy("blk.%d.ffn_norm.weight" % i)
        for name, k, n in linears(a):
            add_linear(out, "blk.%d.%s" % (i, name), read("blk.%d.%s.weight" % (i, name))[1], n, k, a.precision, a.group)
    copy("output_norm.weight")
    head = read("output.weight")[1] if "output.weight" in tensors else embedding
    add_linear(out, "output", head, a.vocab, a.dim, head_precision(a.precision), 0)
    write_gguf(a.out, shape_keys(a), out)


def write_tokens(path, ids, vocab, bos, adds):
    with open(path, "wb") as f:
        f.write(b"AQTK" + struct.pack("<IIiIIQ", 1, vocab, bos, int(adds), 0, len(ids)))
        f.write(struct.pack("<%di" % len(ids), *ids))


def make_accumulate(a):
    rng = random.Random(a.seed)
    limit = 7 if a.kernel.startswith("w4a4") else 127
    asym = a.kernel.endswith("+asym")
    low, high = (-127, 127) if a.kernel == "w8a8" else (0, 15) if asym else (-8, 7)

    def draw(lo, hi):
        return rng.choice((lo, hi)) if a.extreme else rng.randint(lo, hi)

    x = [[draw(-limit, limit) for _ in range(a.k)] for _ in range(a.m)]
    if a.extreme:  # every accumulator at its bound: row 0 all positive, against weights of one sign
        x[0] = [limit] * a.k
    w = [[draw(low, high) for _ in range(a.k)] for _ in range(a.n)]
    if a.extreme:
        w[0] = [low] * a.k
    g = a.k if a.kernel == "w8a8" else a.group or (a.k + 31) // 32 * 32
    groups = (a.k + g - 1) // g
    zeros = [[draw(0, 15) if asym else 0 for _ in range(groups)] for _ in range(a.n)]
    if a.extreme and asym:
        zeros[0] = [15] * groups
    with open(a.out, "wb") as f:
        f.write(struct.pack("<IIII", a.m, a.n, a.k, 0 if a.kernel == "w8a8" else a.group))
        for row in x:
            f.write(struct.pack("%db" % a.k, *row))
        for row, zero in zip(w, zeros):
            if a.kernel == "w8a8":
                f.write(struct.pack("%db" % a.k, *row))
            else:
                q = [v if asym else v + 8 for v in row] + [zero[-1] if asym else 8] * (groups * g - a.k)
                for i in range(0, len(q), 32):
                    f.write(bytes(q[i + j] | q[i + j + 16] << 4 for j in range(16)))
        if asym:
            for zero in zeros:
                f.write(bytes(zero))
    with open(a.expected, "wb") as f:
        for xr in x:
            for wr, zero in zip(w, zeros):
                for i in range(groups):
                    part = zip(xr[i * g:(i + 1) * g], wr[i * g:(i + 1) * g])
                    f.write(struct.pack("<i", sum(p * (q - zero[i]) for p, q in part)))


def main():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(dest="what", required=True)
    for what in ("pack", "big", "quantize"):
        p = sub.add_parser(what)
        if what == "quantize":
            p.add_argument("input")
        p.add_argument("out")
        p.add_argument("--precision", default="fp16")
        for name, default in (("dim", 64), ("layers", 2), ("heads", 8), ("kv", 4), ("ffn", 172), ("vocab", 96),
                              ("context", 64), ("group", 32), ("seed", 1)):
            p.add_argument("--" + name, type=int, default=default)
        p.add_argument("--arch", default="llama")
        p.add_argument("--width", type=int, default=0)
        for flag in ("--tied", "--rope-freqs", "--biases", "--norm-after"):
            p.add_argument(flag, action="store_true")
    p = sub.add_parser("tokens")
    p.add_argument("input")
    p.add_argument("out")
    p.add_argument("--vocab", type=int, required=True)
    p.add_argument("--bos", type=int, default=-1)
    p.add_argument("--adds-bos", action="store_true")
    p = sub.add_parser("random-tokens")
    p.add_argument("out")
    p.add_argument("--vocab", type=int, required=True)
    p.add_argument("--count", type=int, required=True)
    p.add_argument("--seed", type=int, default=1)
    p = sub.add_parser("accumulate")
    p.add_argument("out")
    p.add_argument("expected")
    p.add_argument("--kernel", required=True)
    for name, default in (("m", 3), ("n", 5), ("k", 64), ("group", 32), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--extreme", action="store_true")
    a = parser.parse_args()
    if getattr(a, "arch", "llama") != "llama":
        a.kv = a.heads
    if a.what == "tokens":
        ids = array.array("i")
        ids.frombytes(open(a.input, "rb").read())
        write_tokens(a.out, ids, a.vocab, a.bos, a.adds_bos)
    elif a.what == "random-tokens":
        rng = random.Random(a.seed)
        write_tokens(a.out, [rng.randrange(a.vocab) for _ in range(a.count)], a.vocab, 1, True)
    else:
        {"pack": make_pack, "big": make_big, "quantize": quantize_model, "accumulate": make_accumulate}[a.what](a)


if __name__ == "__main__":
    sys.exit(main())
