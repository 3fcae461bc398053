// Runs the plan of one job: blocks, warm-up and repetitions, journal, result.
#ifndef AQ_JOB_H
#define AQ_JOB_H

#include "plan.h"

struct aq_job_options {
    const char *root, *job, *store;
    bool echo; // journal lines to stdout as well
};

// The caller holds the locks. Returns 0 done, 1 failed, 2 stopped.
int aq_job_run(const struct aq_job_options *options, const struct aq_plan *plan);

// Half-width of the 95% interval of the mean of n >= 2 values, relative to the mean.
double aq_spread(const uint64_t *values, size_t n);

#endif
