#!/usr/bin/env python3
"""Writes test inputs for aqengine, without any package: packs after docs/packed-model.md, token files, accumulate inputs.

  pack.py pack OUT --precision fp16|w8a8|w4a8|w4a4 [--arch llama|opt|bloom --dim 64 --layers 2 --heads 8 --kv 4
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

F32, F16, I8 = 0, 1, 24


def half(x):
    return struct.unpack("<e", struct.pack("<e", x))[0]


def single(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def key(name, kind, value):
    if kind == "str":
        return text(name) + struct.pack("<I", 8) + text(value)
    if kind == "strs":
        return text(name) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    code, fmt = {"u32": (4, "<I"), "f32": (6, "<f"), "bool": (7, "<?")}[kind]
    return text(name) + struct.pack("<I", code) + struct.pack(fmt, value)


def write_gguf(path, keys, tensors):
    """tensors: (name, type, dims fastest first, bytes-like)"""
    head, offset = b"", 0
    for name, kind, dims, data in tensors:
        head += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", kind, offset)
        offset += (len(data) + 31) // 32 * 32
    body = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(key(*k) for k in keys) + head
    with open(path, "wb") as f:
        f.write(body + b"\0" * (-len(body) % 32))
        for _, _, _, data in tensors:
            f.write(data)
            f.write(b"\0" * (-len(data) % 32))


def quantize_i8(w, n, k):
    q, scales = array.array("b"), []
    for r in range(n):
        row = w[r * k:(r + 1) * k]
        s = single(max(map(abs, row)) / 127)
        scales.append(s)
        q.extend(max(-127, min(127, round(single(x / s)))) if s else 0 for x in row)
    return q.tobytes(), struct.pack("<%df" % n, *scales)


def quantize_i4(w, n, k, group):
    g = group or (k + 31) // 32 * 32
    groups = (k + g - 1) // g
    out, scales = bytearray(), []
    for r in range(n):
        row = list(w[r * k:(r + 1) * k]) + [0.0] * (groups * g - k)
        q = []
        for i in range(groups):
            part = row[i * g:(i + 1) * g]
            s = half(single(max(map(abs, part)) / 7))
            scales.append(s)
            q += [(max(-8, min(7, round(single(x / s)))) if s else 0) + 8 for x in part]
        for i in range(0, len(q), 32):
            out += bytes(q[i + j] | q[i + j + 16] << 4 for j in range(16))
    return bytes(out), struct.pack("<%de" % len(scales), *scales), groups * g, groups


def shape_keys(a):
    p = a.arch + "."
    keys = [("general.architecture", "str", a.arch), ("general.name", "str", "test"),
            (p + "context_length", "u32", a.context), (p + "embedding_length", "u32", a.dim),
            (p + "block_count", "u32", a.layers), (p + "feed_forward_length", "u32", a.ffn),
            (p + "attention.head_count", "u32", a.heads), (p + "vocab_size", "u32", a.vocab)]
    if a.arch == "llama":
        keys += [(p + "attention.head_count_kv", "u32", a.kv), (p + "attention.layer_norm_rms_epsilon", "f32", 1e-5),
                 (p + "rope.freq_base", "f32", 10000.0), (p + "rope.dimension_count", "u32", a.dim // a.heads)]
    else:
        keys.append((p + "attention.layer_norm_epsilon", "f32", 1e-5))
    if a.norm_after:
        keys.append((p + "norm_after", "bool", True))
    if a.width:
        keys.append((p + "embedding_projection", "u32", a.width))
    keys.append(("tokenizer.ggml.tokens", "strs", ["<%d>" % i for i in range(min(a.vocab, 64))]))
    return keys + our_keys(a)


def our_keys(a):
    w, act = {"fp16": (16, 16), "w8a8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4)}[a.precision]
    keys = [("agilequant.format", "u32", 1 if a.arch == "llama" and not a.biases else 2), ("agilequant.precision", "str", a.precision),
            ("agilequant.weight_bits", "u32", w), ("agilequant.activation_bits", "u32", act)]
    if w == 4:
        keys.append(("agilequant.group_size", "u32", a.group))
    return keys + [("agilequant.recipe", "str", "{}"), ("agilequant.source_sha256", "str", "0" * 64),
                   ("agilequant.random_weights", "bool", True)]


def linears(a):
    """(name, inputs, outputs) of a layer's linears."""
    kv = a.dim // a.heads * a.kv
    attention = [("attn_q", a.dim, a.dim), ("attn_k", a.dim, kv), ("attn_v", a.dim, kv)]
    if a.arch == "bloom":
        attention = [("attn_qkv", a.dim, 3 * a.dim)]
    gate = [("ffn_gate", a.dim, a.ffn)] if a.arch == "llama" else []
    return attention + [("attn_output", a.dim, a.dim)] + gate + [("ffn_up", a.dim, a.ffn), ("ffn_down", a.ffn, a.dim)]


def add_linear(tensors, name, w, n, k, precision, group):
    if precision == "fp16":
        tensors.append((name + ".weight", F16, (k, n), struct.pack("<%de" % (n * k), *w)))
    elif precision == "w8a8":
        q, s = quantize_i8(w, n, k)
        tensors += [(name + ".weight", I8, (k, n), q), (name + ".scale", F32, (n,), s)]
    else:
        q, s, padded, groups = quantize_i4(w, n, k, group)
        tensors += [(name + ".weight", I8, (padded // 2, n), q), (name + ".scale", F16, (groups, n), s)]


def head_precision(precision):
    return "fp16" if precision == "fp16" else "w8a8"


def make_pack(a):
    rng = random.Random(a.seed)
    tensors = []
    biases = a.biases or a.arch != "llama"
    width = a.width or a.dim

    def draw(n, spread=1.0, mean=0.0):
        return [mean + spread * rng.gauss(0, 1) for _ in range(n)]

    def matrix(n, k):
        return [half(x) for x in draw(n * k, k ** -0.5)]

    def add_f16(name, w, k, n):
        tensors.append((name, F16, (k, n), struct.pack("<%de" % (n * k), *w)))

    def add_f32(name, w):
        tensors.append((name, F32, (len(w),), struct.pack("<%df" % len(w), *w)))

    def add_norm(name):
        add_f32(name + ".weight", draw(a.dim, 0.1, 1.0))
        if a.arch != "llama":
            add_f32(name + ".bias", draw(a.dim, 0.1))

    embedding = [half(x) for x in draw(a.vocab * width)]
    add_f16("token_embd.weight", embedding, width, a.vocab)
    if a.arch == "opt":
        add_f16("position_embd.weight", [half(x) for x in draw(a.context * a.dim, 0.3)], a.dim, a.context)
    if a.width:
        add_f16("embd_in.weight", matrix(a.dim, width), width, a.dim)
    if a.arch == "bloom":
        add_norm("token_embd_norm")
    for i in range(a.layers):
        add_norm("blk.%d.attn_norm" % i)
        add_norm("blk.%d.ffn_norm" % i)
        for name, k, n in linears(a):
            base = "blk.%d.%s" % (i, name)
            add_linear(tensors, base, matrix(n, k), n, k, a.precision, a.group)
            if biases:
                add_f32(base + ".bias", draw(n, 0.3))
    if not a.norm_after:
        add_norm("output_norm")
    if a.width:
        add_f16("embd_out.weight", matrix(width, a.dim), a.dim, width)
    if not (a.tied and a.precision == "fp16"):
        w = embedding if a.tied else matrix(a.vocab, width)
        add_linear(tensors, "output", w, a.vocab, width, head_precision(a.precision), 0)
    if a.rope_freqs:
        add_f32("rope_freqs.weight", [1.0 + i for i in range(a.dim // a.heads // 2)])
    write_gguf(a.out, shape_keys(a), tensors)


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


def read_gguf(path):
    data = open(path, "rb").read()
    at = [24]

    def take(fmt):
        v = struct.unpack_from("<" + fmt, data, at[0])
        at[0] += struct.calcsize("<" + fmt)
        return v[0]

    def string():
        n = take("Q")
        at[0] += n
        return data[at[0] - n:at[0]].decode("utf-8", "replace")

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            element, n = take("I"), take("Q")
            return [value(element) for _ in range(n)]
        return take("BbHhIif?__QqD"[kind].replace("D", "d"))

    tensor_count, key_count = struct.unpack_from("<QQ", data, 8)
    keys = {}
    for _ in range(key_count):
        name = string()
        keys[name] = value(take("I"))
    tensors = {}
    for _ in range(tensor_count):
        name = string()
        dims = [take("Q") for _ in range(take("I"))]
        tensors[name] = (take("I"), dims, take("Q"))
    start = (at[0] + 31) // 32 * 32

    def read(name):
        kind, dims, offset = tensors[name]
        n = 1
        for d in dims:
            n *= d
        return dims, struct.unpack_from("<%d%s" % (n, {F32: "f", F16: "e"}[kind]), data, start + offset)

    return keys, tensors, read


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
