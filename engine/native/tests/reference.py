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

    def vector(self, name):
        """Values of an F32 or F16 tensor, None when there is none."""
        if name not in self.cache:
            self.cache[name] = self.read(name)[1] if name in self.tensors else None
        return self.cache[name]

    def apply(self, base, x, limit):
        bias = self.vector(base + ".bias")
        y = self.product(base, x, limit)
        return [a + b for a, b in zip(y, bias)] if bias else y

    def product(self, base, x, limit):
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


class Shape:
    """What the keys say, and the parts in which architectures differ."""

    def __init__(self, pack):
        self.pack, key = pack, pack.keys
        self.arch = key["general.architecture"]
        p = self.arch + "."
        self.dim, self.layers, self.heads = (key[p + n] for n in ("embedding_length", "block_count", "attention.head_count"))
        self.kv_heads = key.get(p + "attention.head_count_kv", self.heads)
        self.rms = self.arch == "llama"
        self.eps = key[p + ("attention.layer_norm_rms_epsilon" if self.rms else "attention.layer_norm_epsilon")]
        self.base = key.get(p + "rope.freq_base", 10000.0)
        self.norm_after = key.get(p + "norm_after", False)
        self.hd = self.dim // self.heads
        self.kv_dim = self.hd * self.kv_heads
        self.freqs = pack.vector("rope_freqs.weight") or [1.0] * (self.hd // 2)
        self.embedding, self.positions = pack.vector("token_embd.weight"), pack.vector("position_embd.weight")
        self.width = len(self.embedding) // pack.tensors["token_embd.weight"][1][1]

    def norm(self, x, name):
        w, b = self.pack.vector(name + ".weight"), self.pack.vector(name + ".bias")
        if self.rms:
            f = 1 / math.sqrt(sum(v * v for v in x) / len(x) + self.eps)
            return [v * f * s for v, s in zip(x, w)]
        mean = sum(x) / len(x)
        f = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + self.eps)
        return [(v - mean) * f * s + t for v, s, t in zip(x, w, b)]

    def embed(self, token, pos):
        x = list(self.embedding[token * self.width:(token + 1) * self.width])
        if "embd_in.weight" in self.pack.tensors:
            x = self.pack.apply("embd_in", x, 0)
        if self.positions:
            x = [a + b for a, b in zip(x, self.positions[pos * self.dim:(pos + 1) * self.dim])]
        return self.norm(x, "token_embd_norm") if self.arch == "bloom" else x

    def rope(self, x, pos):
        if self.arch != "llama":
            return x
        out, hd = list(x), self.hd
        for h in range(len(x) // hd):
            for i in range(hd // 2):
                angle = pos * self.base ** (-2 * i / hd) / self.freqs[i]
                a, b = x[h * hd + 2 * i], x[h * hd + 2 * i + 1]
                out[h * hd + 2 * i] = a * math.cos(angle) - b * math.sin(angle)
                out[h * hd + 2 * i + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    def slope(self, head):
        if self.arch != "bloom":
            return 0.0
        n = 2 ** int(math.log2(self.heads))
        return 2.0 ** (-8 * (head + 1) / n if head < n else -4 * (2 * (head - n) + 1) / n)

    def qkv(self, p, h, limit):
        if "%sattn_qkv.weight" % p in self.pack.tensors:
            y = self.pack.apply(p + "attn_qkv", h, limit)
            return y[:self.dim], y[self.dim:2 * self.dim], y[2 * self.dim:]
        return tuple(self.pack.apply(p + n, h, limit) for n in ("attn_q", "attn_k", "attn_v"))

    def feed_forward(self, p, h, limit):
        up = self.pack.apply(p + "ffn_up", h, limit)
        if self.arch == "llama":
            gate = self.pack.apply(p + "ffn_gate", h, limit)
            return [a / (1 + math.exp(-a)) * b for a, b in zip(gate, up)]
        if self.arch == "opt":
            return [max(v, 0.0) for v in up]
        return [v * 0.5 * (1 + math.tanh(0.79788456 * v * (1 + 0.044715 * v * v))) for v in up]

    def logits(self, x):
        if not self.norm_after:
            x = self.norm(x, "output_norm")
        if "embd_out.weight" in self.pack.tensors:
            x = self.pack.apply("embd_out", x, 0)
        return self.pack.apply("output" if "output.weight" in self.pack.tensors else "token_embd", x, 127)


def probabilities(scores, kind):
    m = max(scores)
    e = [math.exp(s - m) for s in scores]
    p = [v / sum(e) for v in e]
    if kind == "log2":
        return [2.0 ** -round(-math.log2(v)) if v > 0 and round(-math.log2(v)) <= 15 else 0.0 for v in p]
    return p


def forward(pack, ids):
    s = Shape(pack)
    hd, limit = s.hd, 7 if pack.precision == "w4a4" else 127
    kind = "log2" if pack.precision == "w4a4" else "fp32"
    cache = [([], []) for _ in range(s.layers)]
    result = []
    for pos, token in enumerate(ids):
        x = s.embed(token, pos)
        for layer in range(s.layers):
            p = "blk.%d." % layer
            h = x if s.norm_after else s.norm(x, p + "attn_norm")
            q, k, v = s.qkv(p, h, limit)
            q = s.rope(q, pos)
            cache[layer][0].append([half(e) for e in s.rope(k, pos)])
            cache[layer][1].append([half(e) for e in v])
            mixed = []
            for head in range(s.heads):
                kv, slope = head // (s.heads // s.kv_heads) * hd, s.slope(head)
                scores = [sum(q[head * hd + i] * k[kv + i] for i in range(hd)) / math.sqrt(hd) + slope * (at - pos)
                          for at, k in enumerate(cache[layer][0])]
                probs = probabilities(scores, kind)
                mixed += [sum(pr * v[kv + i] for pr, v in zip(probs, cache[layer][1])) for i in range(hd)]
            x = [a + b for a, b in zip(x, pack.apply(p + "attn_output", mixed, limit))]
            x, h = (s.norm(x, p + "attn_norm"),) * 2 if s.norm_after else (x, s.norm(x, p + "ffn_norm"))
            x = [a + b for a, b in zip(x, pack.apply(p + "ffn_down", s.feed_forward(p, h, limit), limit))]
            x = s.norm(x, p + "ffn_norm") if s.norm_after else x
        result.append(s.logits(x))
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
