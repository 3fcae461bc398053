#!/usr/bin/env python3
"""An independent forward pass of a tiny pack in plain Python floats (fp64), compared with `aqengine logits`.

  reference.py PACK TOKENS LOGITS COUNT TOLERANCE

Follows docs/packed-model.md: integer products where the contract has them, fp16 KV cache, log2 probabilities in w4a4.
"""
import math
import struct
import sys

from gguffile import BF16, F16, F32, brain, half, read_gguf, single

PLACES = ("attn_in", "attn_out", "ffn_in", "ffn_mid")


def quantize(x, limit):
    m = max(map(abs, x))
    if m == 0:
        return [0] * len(x), 0.0
    return [max(-limit, min(limit, round(v * (limit / m)))) for v in x], m / limit


class Input:
    """How the input of linears is quantized."""

    def __init__(self, pack, name, limit):
        self.limit = limit
        self.exponents, self.order, self.fixed = (pack.vector(name + suffix) for suffix in (".trip", ".order", ".static"))

    def quantize(self, x, low):
        limit = 7 if low else self.limit
        if self.exponents:
            x = [v * 2.0 ** -e for v, e in zip(x, self.exponents)]
        if self.order:
            x = [x[int(c)] for c in self.order]
        if not self.fixed:
            return quantize(x, limit)
        s, z = self.fixed
        return [int(max(-limit, min(limit, round(v * (1 / s)) + z))) for v in x], s


class Pack:
    def __init__(self, path):
        self.keys, self.tensors, self.read = read_gguf(path)
        self.base = self.keys.get("agilequant.precision", "fp16").split("+")[0]
        self.cache = {}

    def vector(self, name):
        """A tensor's values, None when there is none of that name."""
        if name not in self.cache:
            self.cache[name] = self.read(name)[1] if name in self.tensors else None
        return self.cache[name]

    def load(self, base):
        """Integer weights less their zero points: (group length, row length, values, scales)."""
        if ("linear", base) in self.cache:
            return self.cache["linear", base]
        _, (columns, n), _ = self.tensors[base + ".weight"]
        q, scales = self.vector(base + ".weight"), self.vector(base + ".scale")
        if self.tensors[base + ".scale"][0] == F32:
            result = (columns, columns, q, scales)
        else:
            k, groups, zeros = columns * 2, len(scales) // n, self.vector(base + ".zero")
            values = [0] * (n * k)
            for at, byte in enumerate(q):
                first = at // 16 * 32 + at % 16
                values[first], values[first + 16] = byte & 15, byte >> 4 & 15
            group = k // groups
            values = [v - (zeros[i // group] if zeros else 8) for i, v in enumerate(values)]
            result = (group, k, values, scales)
        self.cache["linear", base] = result
        return result

    def apply(self, base, x, how=None, low=False):
        n, bias = self.tensors[base + ".weight"][1][1], self.vector(base + ".bias") or None
        if self.tensors[base + ".weight"][0] in (F16, BF16):
            w, k = self.vector(base + ".weight"), len(x)
            x = [brain(v) for v in x] if self.tensors[base + ".weight"][0] == BF16 else x
            y = [sum(map(float.__mul__, w[r * k:(r + 1) * k], x)) for r in range(n)]
        else:
            group, k, w, scales = self.load(base)
            q, s = how.quantize(x, low)
            q = list(q) + [0] * (k - len(q))
            groups = k // group
            y = [s * sum(scales[r * groups + j] * sum(map(int.__mul__, w[r * k + j * group:r * k + (j + 1) * group],
                                                          q[j * group:(j + 1) * group]))
                         for j in range(groups)) for r in range(n)]
        return [a + b for a, b in zip(y, bias)] if bias else y


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
            x = self.pack.apply("embd_in", x)
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

    def qkv(self, p, h, how):
        if "%sattn_qkv.weight" % p in self.pack.tensors:
            y = self.pack.apply(p + "attn_qkv", h, how)
            return y[:self.dim], y[self.dim:2 * self.dim], y[2 * self.dim:]
        return tuple(self.pack.apply(p + n, h, how) for n in ("attn_q", "attn_k", "attn_v"))

    def feed_forward(self, p, h, how, low):
        up = self.pack.apply(p + "ffn_up", h, how, low)
        if self.arch == "llama":
            gate = self.pack.apply(p + "ffn_gate", h, how, low)
            return [a / (1 + math.exp(-a)) * b for a, b in zip(gate, up)]
        if self.arch == "opt":
            return [max(v, 0.0) for v in up]
        return [v * 0.5 * (1 + math.tanh(0.79788456 * v * (1 + 0.044715 * v * v))) for v in up]

    def logits(self, x):
        if not self.norm_after:
            x = self.norm(x, "output_norm")
        if "embd_out.weight" in self.pack.tensors:
            x = self.pack.apply("embd_out", x)
        return self.pack.apply("output" if "output.weight" in self.pack.tensors else "token_embd", x, Input(self.pack, "head", 127))


class Options:
    def __init__(self, pack):
        key, self.limit = pack.keys.get, 7 if pack.base == "w4a4" else 127
        self.limits = key("agilequant.activation_limits")
        self.probabilities = key("agilequant.probabilities", "log2" if pack.base == "w4a4" else "fp32")
        self.low, self.below = key("agilequant.low.thresholds"), key("agilequant.prune.thresholds")
        self.keep = key("agilequant.prune.keep")
        self.kv8 = key("agilequant.kv_bits") == 8

    def inputs(self, pack, layer):
        return {place: Input(pack, "blk.%d.%s" % (layer, place), self.limits[4 * layer + i] if self.limits else self.limit)
                for i, place in enumerate(PLACES)}

    def cached(self, x, hd):
        """What the cache gives back of a key or value, head by head."""
        if not self.kv8:
            return [half(v) for v in x]
        heads = [quantize(x[at:at + hd], 127) for at in range(0, len(x), hd)]
        return [half(single(s * v)) for q, s in heads for v in q]


class Token:
    def __init__(self, x, position, protected):
        self.x, self.position, self.protected = x, position, protected
        self.low = self.pruned = False


def quantized_probabilities(scores, kind):
    m = max(scores)
    e = [math.exp(s - m) for s in scores]
    p = [v / sum(e) for v in e]
    if kind == "log2":
        return [2.0 ** -round(-math.log2(v)) if v > 0 and round(-math.log2(v)) <= 15 else 0.0 for v in p]
    return [round(v * 15) / 15 for v in p] if kind == "uniform" else p


def stay(rows, importance, options, layer):
    leaving = set()
    if options.below:
        leaving = {t for t, row in enumerate(rows) if importance[t] < options.below[layer] and not row.protected}
    if options.keep:
        count = int(math.floor(single(len(rows) * single(1 - options.keep[layer]))))
        ranked = sorted((t for t, row in enumerate(rows) if not row.protected), key=lambda t: (importance[t], -t))
        leaving = set(ranked[:count])
    for t in leaving:
        rows[t].pruned = True
    rows = [row for row in rows if not row.pruned]
    for t, row in enumerate(rows if options.keep else []):
        row.position = t
    return rows


def run_layer(s, options, layer, rows):
    pack, p, hd, inputs = s.pack, "blk.%d." % layer, s.hd, options.inputs(s.pack, layer)
    queries, keys, values, importance = [], [], [], []
    for row in rows:
        q, k, v = s.qkv(p, row.x if s.norm_after else s.norm(row.x, p + "attn_norm"), inputs["attn_in"])
        queries.append(s.rope(q, row.position))
        keys.append(options.cached(s.rope(k, row.position), hd))
        values.append(options.cached(v, hd))
    for t, row in enumerate(rows):
        mixed, first = [], 0.0
        for head in range(s.heads):
            kv, slope = head // (s.heads // s.kv_heads) * hd, s.slope(head)
            scores = [sum(queries[t][head * hd + i] * keys[u][kv + i] for i in range(hd)) / math.sqrt(hd)
                      + slope * (rows[u].position - row.position) for u in range(t + 1)]
            probs = quantized_probabilities(scores, options.probabilities)
            first += probs[0]
            mixed += [sum(pr * v[kv + i] for pr, v in zip(probs, values)) for i in range(hd)]
        importance.append(first)
        row.low = row.low or bool(options.low) and first < options.low[layer] and not row.protected
        row.x = [a + b for a, b in zip(row.x, pack.apply(p + "attn_output", mixed, inputs["attn_out"], row.low))]
        row.x = s.norm(row.x, p + "attn_norm") if s.norm_after else row.x
    rows = stay(rows, importance, options, layer)
    for row in rows:
        h = s.feed_forward(p, row.x if s.norm_after else s.norm(row.x, p + "ffn_norm"), inputs["ffn_in"], row.low)
        row.x = [a + b for a, b in zip(row.x, pack.apply(p + "ffn_down", h, inputs["ffn_mid"], row.low))]
        row.x = s.norm(row.x, p + "ffn_norm") if s.norm_after else row.x
    return rows


def forward(pack, ids):
    """(logits, whether it stayed to the end) of each token; the ids are one prompt."""
    s, options = Shape(pack), Options(pack)
    tokens = [Token(s.embed(token, pos), pos, pos in (0, len(ids) - 1)) for pos, token in enumerate(ids)]
    rows = tokens
    for layer in range(s.layers):
        rows = run_layer(s, options, layer, rows)
    return [s.logits(token.x) for token in tokens], tokens


def main():
    pack_path, tokens, logits, count, tolerance = sys.argv[1:]
    count = int(count)
    ids = struct.unpack_from("<%di" % count, open(tokens, "rb").read(), 32)
    expected, tokens = forward(Pack(pack_path), ids)
    vocab = len(expected[0])
    data = struct.unpack("<%df" % (count * vocab), open(logits, "rb").read())
    # Mean over tokens of the largest difference, relative to the spread of a token's logits: single roundings of
    # quantized activations may fall the other way.
    worst = 0.0
    for t, row in enumerate(expected):
        spread = max(row) - min(row)
        worst += max(abs(a - b) for a, b in zip(row, data[t * vocab:(t + 1) * vocab])) / spread / count
    print("relative difference %.6f, limit %s; %d tokens left, %d low" %
          (worst, tolerance, sum(t.pruned for t in tokens), sum(t.low for t in tokens)))
    return 0 if worst <= float(tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
