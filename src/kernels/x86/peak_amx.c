/* peak_amx.c: the tile units, with four accumulators, two left and two right operands, as a
 * micro-kernel has them: fed from registers alone, and from the second-level cache.
 *
 * The numbers are not zeros: products of zeros take so little power that the clock stays a fifth
 * higher than any model lets it (Sapphire Rapids).
 */
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/rungs.h"

enum { TILE = 1024 };

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

/* Four operands, bf16 between 0.5 and 1, and between -1 and -0.5. The compiler does not see that
 * tiles are loaded from there. */
static void fill(uint16_t operands[4 * TILE / 2])
{
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < 4 * TILE / 2; i++) {
        operands[i] = (uint16_t)(0x3f00 | (rng_next(&r) >> 48 & 0x807f));
    }
    __asm__ volatile("" : : "r"(operands) : "memory");
}

static void begin(void)
{
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

double kernel_peak_tiles_amx(size_t rounds)
{
    _Alignas(64) uint16_t operands[4 * TILE / 2];
    fill(operands);
    begin();
    _tile_loadd(4, operands, 64);
    _tile_loadd(5, operands + TILE / 2, 64);
    _tile_loadd(6, operands + TILE, 64);
    _tile_loadd(7, operands + 3 * TILE / 2, 64);
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
    enum { BLOCK_BYTES = 512 << 10 };
    uint16_t operands[4 * TILE / 2];
    char *block = aligned_alloc(64, BLOCK_BYTES);
    if (!block) {
        return 0;
    }
    fill(operands);
    for (size_t i = 0; i < BLOCK_BYTES; i += 4 * TILE) { /* copies: this time counts, too */
        memcpy(block + i, operands, 4 * TILE);
    }
    __asm__ volatile("" : : "r"(block) : "memory");
    begin();
    size_t at = 0;
    for (size_t r = 0; r < rounds * 250; r++) {
        const char *p = block + at;
        _tile_stream_loadd(4, p, 64);
        _tile_stream_loadd(6, p + TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_stream_loadd(7, p + 2 * TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_stream_loadd(5, p + 3 * TILE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        at = (at + 4 * TILE) % BLOCK_BYTES;
    }
    _tile_release();
    free(block);
    return (double)rounds * 1000 * 16 * 16 * 32 * 2;
}
