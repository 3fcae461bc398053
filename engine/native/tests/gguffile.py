"""GGUF files in plain Python: what the test inputs and the reference need of the format."""
import struct

F32, F16, I8, BF16 = 0, 1, 24, 30


def brain(x):
    """Rounded to bf16, half to even."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.unpack("<f", struct.pack("<I", (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000))[0]


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
    if kind in ("u32s", "f32s"):
        code, fmt = {"u32s": (4, "I"), "f32s": (6, "f")}[kind]
        return text(name) + struct.pack("<IIQ%d%s" % (len(value), fmt), 9, code, len(value), *value)
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
        if kind == BF16:
            bits = struct.unpack_from("<%dH" % n, data, start + offset)
            return dims, struct.unpack("<%df" % n, struct.pack("<%dI" % n, *[b << 16 for b in bits]))
        return dims, struct.unpack_from("<%d%s" % (n, {F32: "f", F16: "e", I8: "b"}[kind]), data, start + offset)

    return keys, tensors, read
