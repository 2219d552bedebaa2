/* peak_amx.c: the tile units, with four accumulators, two left and two right operands, as a
 * micro-kernel has them: fed from registers alone, and from the second-level cache. */
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/rungs.h"

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Not a local variable: gcc 12 takes the first 8 bytes for all that the instruction reads. */
static const struct tile_config config = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

static inline void begin(void)
{
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

double kernel_peak_tiles_amx(size_t rounds)
{
    begin();
    for (size_t r = 0; r < rounds * 250; r++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return (double)rounds * 1000 * 16 * 16 * 32 * 2;
}

/* Every operand is read once, so that nothing but the way from the second level counts: the block
 * is well above the first level's size, and well below the second's. */
double kernel_peak_tiles_cached_amx(size_t rounds)
{
    enum { TILE = 1024, BLOCK_BYTES = 512 << 10 };
    char *block = aligned_alloc(64, BLOCK_BYTES);
    if (!block) {
        return 0;
    }
    memset(block, 0, BLOCK_BYTES);
    begin();
    size_t at = 0;
    for (size_t r = 0; r < rounds * 250; r++) {
        const char *p = block + at;
        _tile_loadd(4, p, 64);
        _tile_loadd(6, p + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, p + 2 * TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, p + 3 * TILE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        at = (at + 4 * TILE) % BLOCK_BYTES;
    }
    _tile_release();
    free(block);
    return (double)rounds * 1000 * 16 * 16 * 32 * 2;
}
