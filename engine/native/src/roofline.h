// Limits of this machine: how fast it reads memory and multiplies.
#ifndef AQ_ROOFLINE_H
#define AQ_ROOFLINE_H

#include "util.h"

struct aq_roofline {
    double read_gb_s;    // sequential reads of memory far larger than the caches, huge pages where given
    double fp32_gflop_s; // 2 operations a fused (or, without FMA, separate) multiply-add
    double bf16_gflop_s; // 2 operations a bf16 multiply-add into fp32; 0 where this CPU has no instruction for it
    double int8_gop_s;   // 2 operations an int8 multiply-add into int32, with this ISA's instructions
};

bool aq_roofline_measure(unsigned threads, struct aq_roofline *out, struct aq_error *err);

#endif
