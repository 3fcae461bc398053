#!/usr/bin/env python3
"""An independent forward pass of a tiny pack in plain Python floats (fp64), compared with `aqengine logits`.

  reference.py PACK TOKENS LOGITS COUNT TOLERANCE

Follows docs/packed-model.md: integer products where the contract has them, fp16 KV cache, log2 probabilities in w4a4.
"""
import math
import struct
import sys

from pack import half, read_gguf


def linear(w, x, n, k):
    return [sum(w[r * k + i] * x[i] for i in range(k)) for r in range(n)]


def quantize(x, limit):
    m = max(map(abs, x))
    if m == 0:
        return [0] * len(x), 0.0
    return [max(-limit, min(limit, round(v * (limit / m)))) for v in x], m / limit


class Pack:
    def __init__(self, path):
        self.keys, self.tensors, self.read = read_gguf(path)
        self.data = open(path, "rb").read()
        self.precision = self.keys.get("agilequant.precision", "fp16")
        self.cache = {}

    def raw(self, name, fmt):
        # read_gguf reads F32 and F16; int8 tensors are found the same way
        kind, dims, offset = self.tensors[name]
        n = 1
        for d in dims:
            n *= d
        return struct.unpack_from("<%d%s" % (n, fmt), self.data, self.start() + offset)

    def start(self):
        if "start" not in self.cache:
            end = max(self.tensors.values(), key=lambda t: t[2])
            size = 1
            for d in end[1]:
                size *= d
            size *= {0: 4, 1: 2, 24: 1}[end[0]]
            self.cache["start"] = len(self.data) - (end[2] + (size + 31) // 32 * 32)
        return self.cache["start"]

    def load(self, base):
        if base not in self.cache:
            kind, dims, _ = self.tensors[base + ".weight"]
            if kind == 1:
                self.cache[base] = ("f", dims[0], dims[1], self.read(base + ".weight")[1])
            elif self.tensors[base + ".scale"][0] == 0:
                self.cache[base] = ("8", dims[0], dims[1], self.raw(base + ".weight", "b"), self.raw(base + ".scale", "f"))
            else:
                packed = self.raw(base + ".weight", "B")
                n, padded = dims[1], dims[0] * 2
                q = [0] * (n * padded)
                for r in range(n):
                    for run in range(padded // 32):
                        for j in range(16):
                            b = packed[r * (padded // 2) + run * 16 + j]
                            q[r * padded + run * 32 + j] = (b & 15) - 8
                            q[r * padded + run * 32 + j + 16] = (b >> 4) - 8
                self.cache[base] = ("4", padded, n, q, self.raw(base + ".scale", "e"))
        return self.cache[base]

    def apply(self, base, x, limit):
        kind, k, n, w = self.load(base)[:4]
        if kind == "f":
            return linear(w, x, n, k)
        scales = self.load(base)[4]
        q, s = quantize(x, limit)
        if kind == "8":
            return [s * scales[r] * sum(w[r * k + i] * q[i] for i in range(k)) for r in range(n)]
        q += [0] * (k - len(q))
        groups = len(scales) // n
        g = k // groups
        return [s * sum(scales[r * groups + j] * sum(w[r * k + i] * q[i] for i in range(j * g, (j + 1) * g))
                        for j in range(groups)) for r in range(n)]


def forward(pack, ids):
    key = pack.keys
    dim, layers, heads = key["llama.embedding_length"], key["llama.block_count"], key["llama.attention.head_count"]
    kv_heads = key["llama.attention.head_count_kv"]
    eps, base = key["llama.attention.layer_norm_rms_epsilon"], key.get("llama.rope.freq_base", 10000.0)
    hd = dim // heads
    limit = 7 if pack.precision == "w4a4" else 127
    embedding = pack.read("token_embd.weight")[1]
    freqs = pack.read("rope_freqs.weight")[1] if "rope_freqs.weight" in pack.tensors else [1.0] * (hd // 2)

    def norm(x, name):
        w = pack.read(name)[1]
        f = 1 / math.sqrt(sum(v * v for v in x) / dim + eps)
        return [v * f * s for v, s in zip(x, w)]

    def rope(x, pos):
        out = list(x)
        for h in range(len(x) // hd):
            for i in range(hd // 2):
                angle = pos * base ** (-2 * i / hd) / freqs[i]
                a, b = x[h * hd + 2 * i], x[h * hd + 2 * i + 1]
                out[h * hd + 2 * i] = a * math.cos(angle) - b * math.sin(angle)
                out[h * hd + 2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    cache = [([], []) for _ in range(layers)]
    result = []
    for pos, token in enumerate(ids):
        x = list(embedding[token * dim:(token + 1) * dim])
        for layer in range(layers):
            p = "blk.%d." % layer
            h = norm(x, p + "attn_norm.weight")
            q = rope(pack.apply(p + "attn_q", h, limit), pos)
            cache[layer][0].append([half(v) for v in rope(pack.apply(p + "attn_k", h, limit), pos)])
            cache[layer][1].append([half(v) for v in pack.apply(p + "attn_v", h, limit)])
            mixed = []
            for head in range(heads):
                kv = head // (heads // kv_heads) * hd
                scores = [sum(q[head * hd + i] * k[kv + i] for i in range(hd)) / math.sqrt(hd) for k in cache[layer][0]]
                m = max(scores)
                e = [math.exp(s - m) for s in scores]
                probs = [v / sum(e) for v in e]
                if pack.precision == "w4a4":
                    probs = [2.0 ** -round(-math.log2(v)) if v > 0 and round(-math.log2(v)) <= 15 else 0.0 for v in probs]
                mixed += [sum(pr * v[kv + i] for pr, v in zip(probs, cache[layer][1])) for i in range(hd)]
            x = [a + b for a, b in zip(x, pack.apply(p + "attn_output", mixed, limit))]
            h = norm(x, p + "ffn_norm.weight")
            gate, up = pack.apply(p + "ffn_gate", h, limit), pack.apply(p + "ffn_up", h, limit)
            h = [a / (1 + math.exp(-a)) * b for a, b in zip(gate, up)]
            x = [a + b for a, b in zip(x, pack.apply(p + "ffn_down", h, limit))]
        head = "output" if "output.weight" in pack.tensors else "token_embd"
        result.append(pack.apply(head, norm(x, "output_norm.weight"), 127))
    return result


def main():
    pack_path, tokens, logits, count, tolerance = sys.argv[1:]
    count = int(count)
    ids = struct.unpack_from("<%di" % count, open(tokens, "rb").read(), 32)
    expected = forward(Pack(pack_path), ids)
    vocab = len(expected[0])
    data = struct.unpack("<%df" % (count * vocab), open(logits, "rb").read())
    # Mean over tokens of the largest difference, relative to the spread of a token's logits: single roundings of
    # quantized activations may fall the other way.
    worst = 0.0
    for t, row in enumerate(expected):
        spread = max(row) - min(row)
        worst += max(abs(a - b) for a, b in zip(row, data[t * vocab:(t + 1) * vocab])) / spread / count
    print("relative difference %.6f, limit %s" % (worst, tolerance))
    return 0 if worst <= float(tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
