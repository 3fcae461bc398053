#!/usr/bin/env python3
"""Runs an engine on packs whose keys or tensors say impossible things: each is refused in one line that names the culprit.

  hostile.py ENGINE TOKENS WORKDIR
"""
import argparse
import os
import struct
import subprocess
import sys

from gguffile import F16, F32, I8, write_gguf
from randompack import build_pack

NAN, INFINITY = float("nan"), float("inf")


def pack(precision, arch="llama", **more):
    shape = dict(precision=precision, arch=arch, dim=64, layers=2, heads=8, kv=4 if arch == "llama" else 8, ffn=96,
                 vocab=96, context=64, group=32, seed=1, tied=False, rope_freqs=False, biases=False, norm_after=False, width=0)
    return build_pack(argparse.Namespace(**{**shape, **more}))


def with_key(made, name, kind, value):
    keys, tensors = made
    return [k for k in keys if k[0] != name] + [(name, kind, value)], tensors


def with_tensor(made, name, kind, dims, data):
    keys, tensors = made
    return keys, [t for t in tensors if t[0] != name] + [(name, kind, dims, data)]


def without_tensor(made, name):
    keys, tensors = made
    return keys, [t for t in tensors if t[0] != name]


def floats(*values):
    return struct.pack("<%df" % len(values), *values)


def cases():
    """(what is wrong, pack, word that the message has)"""
    plain, w4, trip = pack("fp16"), pack("w4a8+asym"), pack("w4a8+trip-static")
    opt, bloom = pack("w8a8", "opt", norm_after=True, width=40), pack("fp16", "bloom")
    yield "format 3", with_key(plain, "agilequant.format", "u32", 3), "formats 1 and 2"
    yield "an unknown base", with_key(w4, "agilequant.precision", "str", "w2a2"), "w4a4"
    yield "an unknown option", with_key(w4, "agilequant.precision", "str", "w4a8+magic"), "kv8"
    yield "an empty option", with_key(w4, "agilequant.precision", "str", "w4a8+"), "kv8"
    yield "an option without its share", with_key(w4, "agilequant.precision", "str", "w4a8+low"), "kv8"
    yield "a long precision", with_key(w4, "agilequant.precision", "str", "w4a8" + "+asym" * 50), "precision"
    yield "an option in format 1", with_key(with_key(w4, "agilequant.precision", "str", "w4a8+asym"), "agilequant.format", "u32", 1), "format 1"
    yield "probabilities", with_key(w4, "agilequant.probabilities", "str", "log3"), "probabilities"
    yield "too few limits", with_key(w4, "agilequant.activation_limits", "u32s", [127] * 7), "activation_limits"
    yield "a limit of 15", with_key(w4, "agilequant.activation_limits", "u32s", [127] * 7 + [15]), "activation_limits"
    yield "limits as floats", with_key(w4, "agilequant.activation_limits", "f32s", [127.0] * 8), "activation_limits"
    yield "kv_bits", with_key(w4, "agilequant.kv_bits", "u32", 4), "kv_bits"
    yield "kv_bits as text", with_key(w4, "agilequant.kv_bits", "str", "8"), "kv_bits"
    yield "a mode of pruning", with_key(w4, "agilequant.prune.mode", "str", "all"), "prune.mode"
    yield "a mode that is a number", with_key(w4, "agilequant.prune.mode", "u32", 1), "prune.mode"
    for precision, key, high in (("w4a8+prune0.2", "prune.thresholds", None), ("w4a8+prune-paper0.2", "prune.keep", 1.5),
                                 ("w4a8+low0.5", "low.thresholds", None)):
        made, name = pack(precision), "agilequant." + key
        for value in (NAN, INFINITY, -0.5, high):
            if value is not None:
                yield "%s of %g" % (key, value), with_key(made, name, "f32s", [0.1, value]), key
        yield "too few " + key, with_key(made, name, "f32s", [0.1]), key
        yield "too many " + key, with_key(made, name, "f32s", [0.1] * 3), key
        yield "whole numbers as " + key, with_key(made, name, "u32s", [0, 1]), key
        yield "one number as " + key, with_key(made, name, "f32", 0.1), key
    yield "4-bit tokens of fp16", with_key(plain, "agilequant.low.thresholds", "f32s", [0.1, 0.1]), "4-bit tokens"
    zeros = next(t for t in w4[1] if t[0] == "blk.1.ffn_up.zero")
    yield "a zero point of 16", with_tensor(w4, *zeros[:3], zeros[3][:-1] + b"\x10"), "ffn_up.zero"
    yield "a zero point of -1", with_tensor(w4, *zeros[:3], b"\xff" + zeros[3][1:]), "ffn_up.zero"
    yield "too few zero points", with_tensor(w4, zeros[0], I8, (1, 96), bytes(96)), "ffn_up.zero"
    yield "a factor of 16", with_tensor(trip, "blk.0.attn_out.trip", I8, (64,), bytes(63) + b"\x10"), "attn_out.trip"
    yield "a factor of -1", with_tensor(trip, "blk.0.attn_out.trip", I8, (64,), b"\xff" + bytes(63)), "attn_out.trip"
    yield "too few factors", with_tensor(trip, "blk.0.ffn_mid.trip", I8, (64,), bytes(64)), "ffn_mid.trip"
    order = list(range(64))
    for what, wrong in (("twice a channel", order[:-1] + [0]), ("a channel too high", order[:-1] + [64]),
                        ("half a channel", order[:-1] + [62.5]), ("a negative channel", [-1] + order[1:]),
                        ("no number", [NAN] + order[1:]), ("infinity", [INFINITY] + order[1:])):
        yield "an order with " + what, with_tensor(trip, "blk.1.attn_in.order", F32, (64,), floats(*wrong)), "attn_in.order"
    for values in ((0.0, 0.0), (-1.0, 0.0), (NAN, 0.0), (INFINITY, 0.0), (1e-45, 0.0), (0.1, NAN), (0.1, 0.5), (0.1, 1e9)):
        yield "static %g %g" % values, with_tensor(trip, "blk.1.ffn_in.static", F32, (2,), floats(*values)), "ffn_in.static"
    yield "a static of one value", with_tensor(trip, "blk.1.ffn_in.static", F32, (1,), floats(0.1)), "ffn_in.static"
    yield "a bias of another length", with_tensor(opt, "blk.0.attn_q.bias", F32, (32,), bytes(128)), "attn_q.bias"
    yield "LayerNorm without its bias", without_tensor(opt, "blk.0.ffn_norm.bias"), "ffn_norm.bias"
    yield "no positions", without_tensor(opt, "position_embd.weight"), "position_embd"
    yield "positions of another context", with_tensor(opt, "position_embd.weight", F16, (64, 32), bytes(64 * 32 * 2)), "position_embd"
    yield "no projection of the embedding", without_tensor(opt, "embd_in.weight"), "embd_in"
    yield "no projection to the head", without_tensor(opt, "embd_out.weight"), "embd_out"
    yield "a width beyond a row", with_key(opt, "opt.embedding_projection", "u32", 1 << 30), "embedding_projection"
    yield "no embedding norm", without_tensor(bloom, "token_embd_norm.weight"), "token_embd_norm"
    yield "fewer key-value heads in BLOOM", with_key(bloom, "bloom.attention.head_count_kv", "u32", 4), "key-value heads"
    yield "no epsilon", with_key(bloom, "bloom.attention.layer_norm_epsilon", "str", "small"), "epsilon"


def main():
    engine, tokens, work = sys.argv[1:]
    path, out, bad, count = os.path.join(work, "hostile.gguf"), os.path.join(work, "hostile.out"), 0, 0
    for what, made, word in cases():
        write_gguf(path, *made)
        r = subprocess.run([engine, "logits", "--model", path, "--tokens", tokens, "--count", "3", "--out", out],
                           stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, timeout=120)
        message = r.stderr.decode("utf-8", "replace")
        count += 1
        if r.returncode != 1 or message.count("\n") != 1 or word not in message:
            bad += 1
            print("%s: exit %d, %s" % (what, r.returncode, message[:300]))
    print("%d packs, %d not refused as they should be" % (count, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
