// A thread beside the run: telemetry, and the wish to stop (a `stop` file in the job folder, SIGTERM, SIGINT).
#ifndef AQ_CONTROL_H
#define AQ_CONTROL_H

#include "journal.h"
#include "telemetry.h"

#include <stdatomic.h>

struct aq_control {
    atomic_bool stop;   // the run should end
    atomic_bool ending; // this thread should end
    struct aq_journal *journal;
    struct aq_telemetry telemetry;
    unsigned telemetry_ms;
    char stop_file[4096];
    pthread_t thread;
    bool started;
};

// Blocks the signals in the calling thread, so call it before other threads start.
void aq_control_block_signals(void);
bool aq_control_start(struct aq_control *c, struct aq_journal *journal, const char *folder, unsigned telemetry_ms,
                      struct aq_error *err);
void aq_control_end(struct aq_control *c);

#endif
