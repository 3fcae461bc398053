// What the tiled kernels of every instruction set have in common.
#ifndef AQ_TILES_H
#define AQ_TILES_H

// Inlined, so that row counts become constants and accumulators stay in registers. Sanitizer builds keep them as plain
// functions: a hundred checked copies of each would compile for minutes.
#ifdef AQ_SANITIZED
#define AQ_INLINE static __attribute__((noinline, unused))
#else
#define AQ_INLINE static inline __attribute__((always_inline))
#endif

// Before a loop of constant length over rows or vectors, so that arrays of accumulators become registers. (A number in
// clang's "GCC unroll" leaves loops whose length does not divide it.)
#if defined(AQ_SANITIZED)
#define AQ_UNROLL
#elif defined(__clang__)
#define AQ_UNROLL _Pragma("clang loop unroll(full)")
#else
#define AQ_UNROLL _Pragma("GCC unroll 16")
#endif

// Calls TILE(rows) for full tiles of `mr` <= 12 rows, from row `row` on, then once for the rest; rows is a constant in
// every call.
#define AQ_TILE_REST(mr, rows, TILE)                                                                                   \
    case rows:                                                                                                         \
        if (rows < (mr)) TILE(rows);                                                                                   \
        break
#define AQ_FOR_TILES(m, mr, TILE)                                                                                      \
    do {                                                                                                               \
        size_t row = 0;                                                                                                \
        for (; row + (mr) <= (m); row += (mr)) TILE(mr);                                                               \
        switch ((m)-row) {                                                                                             \
            AQ_TILE_REST(mr, 11, TILE);                                                                                \
            AQ_TILE_REST(mr, 10, TILE);                                                                                \
            AQ_TILE_REST(mr, 9, TILE);                                                                                 \
            AQ_TILE_REST(mr, 8, TILE);                                                                                 \
            AQ_TILE_REST(mr, 7, TILE);                                                                                 \
            AQ_TILE_REST(mr, 6, TILE);                                                                                 \
            AQ_TILE_REST(mr, 5, TILE);                                                                                 \
            AQ_TILE_REST(mr, 4, TILE);                                                                                 \
            AQ_TILE_REST(mr, 3, TILE);                                                                                 \
            AQ_TILE_REST(mr, 2, TILE);                                                                                 \
            AQ_TILE_REST(mr, 1, TILE);                                                                                 \
        default:                                                                                                       \
            break;                                                                                                     \
        }                                                                                                              \
    } while (0)

#endif
