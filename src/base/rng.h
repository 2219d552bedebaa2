/* rng.h: the random numbers of sampling, initialisation and shuffling: xoshiro256** seeded through
 * splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018).
 * The state is plain data, so that a checkpoint can carry it. */
#ifndef LLLM_BASE_RNG_H
#define LLLM_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* splitmix64 alone: number i (from 1) behind a seed is rng_mix(seed + i * RNG_STEP). One to one. */
#define RNG_STEP UINT64_C(0x9E3779B97F4A7C15)
uint64_t rng_mix(uint64_t x);

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
double rng_uniform(struct rng *r);                 /* [0, 1), 53 bits */
uint64_t rng_below(struct rng *r, uint64_t bound); /* unbiased; bound > 0 */
double rng_normal(struct rng *r); /* mean 0, variance 1 (Box-Muller, one of the pair) */

#endif
