// Stand-ins for mmap, munmap and madvise in a fuzz build (build.sh renames the calls). Mapped pages have no red zones
// and are filled up to a page's end; a copy of exactly the file's size, or a block of exactly the arena's, lets
// AddressSanitizer see the first byte that is read or written beyond it.
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

void *aq_fuzz_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int aq_fuzz_munmap(void *memory, size_t length);
int aq_fuzz_madvise(void *memory, size_t length, int advice);

void *aq_fuzz_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    (void)address, (void)protection;
    void *memory = NULL;
    if (length == 0 || posix_memalign(&memory, PAGE, length) != 0) return MAP_FAILED;
    memset(memory, 0, length);
    if (flags & MAP_ANONYMOUS) return memory;
    for (size_t done = 0; done < length;) {
        ssize_t n = pread(fd, (uint8_t *)memory + done, length - done, offset + (off_t)done);
        if (n <= 0) break; // shorter than the mapping: the rest stays zero, as in a file's last page
        done += (size_t)n;
    }
    return memory;
}

int aq_fuzz_munmap(void *memory, size_t length) {
    (void)length;
    free(memory);
    return 0;
}

// Advice must not touch the copies: MADV_DONTNEED on them would not bring a file's bytes back.
int aq_fuzz_madvise(void *memory, size_t length, int advice) {
    (void)memory, (void)length, (void)advice;
    return 0;
}

const char *fuzz_file(const uint8_t *data, size_t size) {
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        if (fd < 0) abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0) abort();
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, data + done, size - done, (off_t)done);
        if (n <= 0) abort();
        done += (size_t)n;
    }
    return path;
}
