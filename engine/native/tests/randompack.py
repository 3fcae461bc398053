"""Packs of random weights after docs/packed-model.md, of every architecture and option."""
import array
import random
import struct

from gguffile import BF16, F16, F32, I8, half, single, write_gguf


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


def quantize_i4_asymmetric(w, n, k, group):
    """Also zero points, [groups, out]."""
    g = group or (k + 31) // 32 * 32
    groups = (k + g - 1) // g
    out, scales, zeros = bytearray(), [], bytearray()
    for r in range(n):
        row = list(w[r * k:(r + 1) * k])
        q = []
        for i in range(groups):
            part = row[i * g:(i + 1) * g]
            low, high = min(part + [0.0]), max(part + [0.0])
            s = half(single((high - low) / 15))
            z = max(0, min(15, round(single(-low / s)))) if s else 0
            scales.append(s)
            zeros.append(z)
            q += [max(0, min(15, round(single(x / s)) + z)) if s else z for x in part]
            q += [z] * (g - len(part))
        for i in range(0, len(q), 32):
            out += bytes(q[i + j] | q[i + j + 16] << 4 for j in range(16))
    return bytes(out), struct.pack("<%de" % len(scales), *scales), bytes(zeros), groups * g, groups


def base_of(a):
    return a.precision.split("+")[0]


def options_of(a):
    """Options of the precision's name; a share stands behind those that have one."""
    found = {}
    for option in a.precision.split("+")[1:]:
        word = option.rstrip("0123456789.")
        found[option if option == "kv8" else word] = float(option[len(word):] or 0)
    return found


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
    base, options = base_of(a), options_of(a)
    w, act = {"fp16": (16, 16), "bf16": (16, 16), "w8a8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4)}[base]
    plain = a.arch == "llama" and not a.biases and not options and base != "bf16"
    keys = [("agilequant.format", "u32", 1 if plain else 2), ("agilequant.precision", "str", a.precision),
            ("agilequant.weight_bits", "u32", w), ("agilequant.activation_bits", "u32", act)]
    if w == 4:
        keys.append(("agilequant.group_size", "u32", a.group))
    return keys + option_keys(a, options, 127 if act == 8 else 7) + [
        ("agilequant.recipe", "str", "{}"), ("agilequant.source_sha256", "str", "0" * 64),
        ("agilequant.random_weights", "bool", True)]


def option_keys(a, options, limit):
    keys, layers = [], range(a.layers)
    if "mixed" in options:  # 8-bit inputs of down everywhere, of the attention in every other layer
        keys.append(("agilequant.activation_limits", "u32s", [v for i in layers for v in (127 if i % 2 else limit, limit, limit, 127)]))
    for option, name in (("softmax", "fp32"), ("log2", "log2"), ("uniform", "uniform")):
        if option in options:
            keys.append(("agilequant.probabilities", "str", name))
    # Attention that is spread evenly gives token t an importance of heads / (t + 1): these fall within a dozen tokens.
    if "low" in options:
        keys += [("agilequant.low.ratio", "f32", options["low"]),
                 ("agilequant.low.thresholds", "f32s", [a.heads * (0.0 if i == 0 else 0.12) for i in layers])]
    if "prune" in options:
        keys += [("agilequant.prune.mode", "str", "threshold"), ("agilequant.prune.ratio", "f32", options["prune"]),
                 ("agilequant.prune.thresholds", "f32s", [a.heads * (0.0 if i == 0 else 0.09) for i in layers])]
    if "prune-paper" in options:
        keys += [("agilequant.prune.mode", "str", "paper"), ("agilequant.prune.ratio", "f32", options["prune-paper"]),
                 ("agilequant.prune.keep", "f32s", [1.0 if i == 0 else 1.0 - options["prune-paper"] for i in layers])]
    if "kv8" in options:
        keys.append(("agilequant.kv_bits", "u32", 8))
    return keys


def linears(a):
    """(name, inputs, outputs) of a layer's linears."""
    kv = a.dim // a.heads * a.kv
    attention = [("attn_q", a.dim, a.dim), ("attn_k", a.dim, kv), ("attn_v", a.dim, kv)]
    if a.arch == "bloom":
        attention = [("attn_qkv", a.dim, 3 * a.dim)]
    gate = [("ffn_gate", a.dim, a.ffn)] if a.arch == "llama" else []
    return attention + [("attn_output", a.dim, a.dim)] + gate + [("ffn_up", a.dim, a.ffn), ("ffn_down", a.ffn, a.dim)]


PLACES = {"attn_in": ("attn_q", "attn_k", "attn_v", "attn_qkv"), "attn_out": ("attn_output",),
          "ffn_in": ("ffn_gate", "ffn_up"), "ffn_mid": ("ffn_down",)}


def add_linear(tensors, name, w, n, k, precision, group, asymmetric=False):
    if precision == "fp16":
        tensors.append((name + ".weight", F16, (k, n), struct.pack("<%de" % (n * k), *w)))
    elif precision == "bf16":
        bits = struct.unpack("<%dI" % (n * k), struct.pack("<%df" % (n * k), *w))
        tensors.append((name + ".weight", BF16, (k, n), struct.pack("<%dH" % (n * k), *[b >> 16 for b in bits])))
    elif precision == "w8a8":
        q, s = quantize_i8(w, n, k)
        tensors += [(name + ".weight", I8, (k, n), q), (name + ".scale", F32, (n,), s)]
    elif asymmetric:
        q, s, z, padded, groups = quantize_i4_asymmetric(w, n, k, group)
        tensors += [(name + ".weight", I8, (padded // 2, n), q), (name + ".scale", F16, (groups, n), s),
                    (name + ".zero", I8, (groups, n), z)]
    else:
        q, s, padded, groups = quantize_i4(w, n, k, group)
        tensors += [(name + ".weight", I8, (padded // 2, n), q), (name + ".scale", F16, (groups, n), s)]


def head_precision(base):
    return base if base in ("fp16", "bf16") else "w8a8"


def add_inputs(tensors, prefix, a, rng, options):
    """TRIP's tensors of a layer. Returns (factors, order) a place, to be applied to the weights."""
    inputs = {}
    for place in PLACES:
        k = a.ffn if place == "ffn_mid" else a.dim
        exponents, order = [0] * k, list(range(k))
        if "trip" in options or "trip-static" in options:
            exponents = [rng.choice((0, 0, 0, 1, 2, 3)) for _ in range(k)]
            tensors.append((prefix + place + ".trip", I8, (k,), bytes(exponents)))
            if place in ("ffn_in", "ffn_mid"):
                order.sort(key=lambda c: exponents[c])
                tensors.append((prefix + place + ".order", F32, (k,), struct.pack("<%df" % k, *order)))
        if "trip-static" in options:
            tensors.append((prefix + place + ".static", F32, (2,), struct.pack("<ff", rng.uniform(0.02, 0.03), rng.randint(-9, 9))))
        inputs[place] = (exponents, order)
    return inputs


def through_input(w, n, k, exponents, order):
    return [w[r * k + c] * 2 ** exponents[c] for r in range(n) for c in order]


def make_pack(a):
    keys, tensors = build_pack(a)
    write_gguf(a.out, keys, tensors)


def build_pack(a):
    """(keys, tensors) as write_gguf takes them."""
    rng = random.Random(a.seed)
    tensors = []
    biases = a.biases or a.arch != "llama"
    width = a.width or a.dim
    base, options = base_of(a), options_of(a)

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
    add_linear(tensors, "token_embd", embedding, a.vocab, width, "bf16" if base == "bf16" else "fp16", 0)
    if a.arch == "opt":
        add_f16("position_embd.weight", [half(x) for x in draw(a.context * a.dim, 0.3)], a.dim, a.context)
    if a.width:
        add_f16("embd_in.weight", matrix(a.dim, width), width, a.dim)
    if a.arch == "bloom":
        add_norm("token_embd_norm")
    for i in range(a.layers):
        add_norm("blk.%d.attn_norm" % i)
        add_norm("blk.%d.ffn_norm" % i)
        inputs = add_inputs(tensors, "blk.%d." % i, a, rng, options)
        for name, k, n in linears(a):
            place = next(p for p in PLACES if name in PLACES[p])
            w = through_input(matrix(n, k), n, k, *inputs[place])
            precision = "w8a8" if "mixed" in options and name == "ffn_down" and i == 0 else base
            add_linear(tensors, "blk.%d.%s" % (i, name), w, n, k, precision, a.group, "asym" in options)
            if biases:
                add_f32("blk.%d.%s.bias" % (i, name), draw(n, 0.3))
    if not a.norm_after:
        add_norm("output_norm")
    if a.width:
        add_f16("embd_out.weight", matrix(width, a.dim), a.dim, width)
    if not (a.tied and base in ("fp16", "bf16")):
        w = embedding if a.tied else matrix(a.vocab, width)
        add_linear(tensors, "output", w, a.vocab, width, head_precision(base), 0)
    if a.rope_freqs:
        add_f32("rope_freqs.weight", [1.0 + i for i in range(a.dim // a.heads // 2)])
    return shape_keys(a), tensors
