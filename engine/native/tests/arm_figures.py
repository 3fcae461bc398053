"""Figures of hot loops in Arm object files, for arm-figures.sh: finds the innermost loop that multiplies most, counts its
multiply-accumulates, and asks llvm-mca for cycles. Prints one row of a Markdown table a kernel.

usage: arm_figures.py OBJDUMP MCA OBJECTS-FOLDER [--loops]     --loops prints the loops' instructions too
"""
import re
import subprocess
import sys

# Kernel, object, function, what a loop is, multiply-accumulates of one instruction where the mnemonic does not say.
KERNELS = [
    ("fp16, fp32 FMLA", "neon/product_f16", None),
    ("int8, SMULL + SADALP", "neon/product_i8", None),
    ("int4, SMLAL chains", "neon/product_i4", None),
    ("int8, SDOT", "neon_dotprod/product_i8", None),
    ("int4, SDOT", "neon_dotprod/product_i4", None),
]
