"""The work of arm-figures.sh: compiles each hot tile alone, finds the loop that multiplies, counts, and asks llvm-mca.

usage: figures.py CLANG OBJDUMP MCA [--loops]
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.join(HERE, "..", "..", "src")
FLAGS = ["--target=aarch64-linux-gnu", "-std=c17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-D_GNU_SOURCE", "-c"]
QUANT4 = "(struct groups_kind){32, true, false, false}"
# Name, folder, file, -march, the tile with all its rows. int4: groups of 32, the whole loop over groups with its scales.
KERNELS = [
    ("fp16 pack, fp32 FMLA: 4 inputs", "neon", "product_f16.c", "armv8-a",
     "f16_tile(false, NEON_MR, 1, p->x, p->ldx, one, NULL, 0, k, p->y, p->ldy, NEON_NR_F16, true)"),
    ("fp16 pack, fp16 FMLA: 8 inputs of a chain of 32", "neon_fp16", "product_half.c", "armv8.2-a+fp16",
     "block(MR, one, two, p->rows->ld, p->w->weights, k / CHAIN * CHAIN)"),
    ("bf16, BFDOT: 8 inputs", "neon_bf16", "product_bf16.c", "armv8.2-a+dotprod+i8mm+bf16", "tile(BF16_MR, p, row, panel)"),
    ("int8, SMULL + SADALP", "neon", "product_i8.c", "armv8-a", "tile(NEON_MR, p, row, panel)"),
    ("int8, SDOT", "neon_dotprod", "product_i8.c", "armv8.2-a+dotprod", "tile(DOT_MR_I8, p, row, panel)"),
    ("int8, SMMLA", "neon_i8mm", "product_i8.c", "armv8.2-a+dotprod+i8mm", "tile(MM_MR_I8, p, row, panel, two)"),
    ("int4, SMLAL chains: a run of 32 without its scales", "neon", "product_i4.c", "armv8-a", "chain(NEON_MR, one, two, p->rows->ld, p->w->weights, k)"),
    ("4 x 4 bits, packed multiplier: the same run", "neon", "packed4.c", "armv8-a", "chain(NEON_MR, one, two, p->rows->ld, p->w->weights, k)"),
    ("int4, SDOT: a group of 32 with its scales", "neon_dotprod", "product_i4.c", "armv8.2-a+dotprod",
     "tile(MR, %s, p, row, panel, true, one, two)" % QUANT4),
    ("int4, SMMLA: a group of 32 with its scales", "neon_i8mm", "product_i4.c", "armv8.2-a+dotprod+i8mm",
     "tile(MR, %s, p, row, panel, true, one, two)" % QUANT4),
]
# Core wanted, -mcpu that has a table, and what that table is for this core. Which table is used is read from the output.
CORES = [("A72", "cortex-a72"), ("A76", "cortex-a76"), ("A76 by N1", "neoverse-n1"), ("N2", "neoverse-n2")]
NEEDS = {"neon": ("A72", "A76", "A76 by N1", "N2"), "neon_fp16": ("A76 by N1", "N2"), "neon_dotprod": ("A76 by N1", "N2"),
         "neon_i8mm": ("N2",), "neon_bf16": ("N2",)}


def products(line):
    """Multiply-accumulates of one instruction."""
    name, _, operands = line.partition(" ")
    lanes = re.match(r"v\d+\.(\d+)(\w)", operands)
    if name in ("smull", "smull2", "smlal", "smlal2", "fmla"):
        return int(lanes[1])
    if name == "mul" and lanes and lanes[2] == "h":  # the packed multiplier: two a lane
        return 16
    return {"sdot": 16, "smmla": 32, "bfdot": 8}.get(name, 0)


def instructions(objdump, path):
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", "--disassemble-symbols=figure", path],
                          capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", text, re.M)
    return [(int(at, 16), re.sub(r"\s+", " ", re.sub(r"<.*>|//.*", "", code)).strip()) for at, code in found]


def hot_loop(code):
    """The innermost loop with the most products: between a backward branch and its target, without loops inside."""
    index = {at: i for i, (at, _) in enumerate(code)}
    loops = []
    for i, (at, line) in enumerate(code):
        branch = re.match(r"(?:b\.\w+|cbn?z|tbn?z|b) .*?0x([0-9a-f]+)$", line)
        if branch and int(branch[1], 16) <= at and int(branch[1], 16) in index:
            loops.append((index[int(branch[1], 16)], i))
    inner = [(a, b) for a, b in loops if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)]
    bodies = [[line for _, line in code[a:b + 1]] for a, b in inner]
    return max(bodies, key=lambda body: sum(map(products, body)))


def cycles(mca, cpu, body):
    """(cycles of one pass, name of the table) for this core; None when llvm-mca does not know it."""
    text = "\n".join(line for line in body if not re.match(r"(b|b\.\w+|cbn?z|tbn?z|ret)\b", line)) + "\n"
    run = subprocess.run([mca, "-march=aarch64", "-mcpu=" + cpu, "-mattr=+dotprod,+fullfp16,+i8mm,+bf16", "-iterations=1000",
                          "-instruction-info=0"], input=text, capture_output=True, text=True)
    if run.returncode:
        return None
    table = re.search(r"- (\w+?)Unit", run.stdout)
    return int(re.search(r"Total Cycles:\s+(\d+)", run.stdout)[1]) / 1000, table[1] if table else "no"


def main():
    clang, objdump, mca = sys.argv[1:4]
    version = re.search(r"LLVM version (\S+)", subprocess.run([mca, "--version"], capture_output=True, text=True).stdout)[1]
    include = subprocess.run([clang, "-print-resource-dir"], capture_output=True, text=True).stdout.strip() + "/include"
    rows, tables = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, isa, source, march, call in KERNELS:
            path = os.path.join(folder, "figure.o")
            source = os.path.abspath(os.path.join(SRC, "kernels", isa, source))
            subprocess.run([clang, *FLAGS, "-march=" + march, "-isystem", include, "-isystem", "/usr/aarch64-linux-gnu/include",
                            "-I", os.path.dirname(source), '-DFIGURE_SOURCE="%s"' % source, "-DFIGURE_CALL=" + call,
                            "-o", path, os.path.join(HERE, "loops.c")], check=True)
            body = hot_loop(instructions(objdump, path))
            total = sum(map(products, body))
            cells = []
            for core, cpu in CORES:
                result = cycles(mca, cpu, body) if core in NEEDS[isa] else None
                cells.append("%.0f (%.1f)" % (result[0], total / result[0]) if result else "-")
                if result:
                    tables[core] = "%s: -mcpu=%s uses the %s table" % (core, cpu, result[1])
            rows.append([name, str(total), str(len(body)), "%.1f" % (total / len(body)),
                         str(sum("[sp" in line for line in body)), *cells])
            if "--loops" in sys.argv:
                print("\n".join(["", name, *body]))
    heads = ["loop", "MACs", "instructions", "MACs each", "stack", *[core + " cycles (MACs a cycle)" for core, _ in CORES]]
    print("LLVM %s. %s.\n" % (version, "; ".join(tables.values())))
    for cells in [heads, ["---"] * len(heads), *rows]:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
