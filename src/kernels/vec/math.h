/* math.h: functions in the vocabulary of an instruction set's vec.h, which includes this at its
 * end.
 */
#ifndef LLLM_KERNELS_VEC_MATH_H
#define LLLM_KERNELS_VEC_MATH_H

VEC_INLINE vec vec_zero(void)
{
    return vec_set1(0);
}

VEC_INLINE float vec_sum(vec a)
{
    return vec_quad_first(vec_sum4(a, a, a, a));
}

/* x = n ln 2 + r with n integral and |r| <= ln 2 / 2; returns exp(r) - 1 = r + r^2 q(r) with q of
 * degree 4 fitted to the least relative error of exp(r) (3e-9). */
VEC_INLINE vec vec_exp_reduced(vec x, vec *n)
{
    /* Beyond these exp(x) rounds to 0 and to inf. A NaN is the second operand and stays. */
    x = vec_max(vec_set1(-104.0f), x);
    x = vec_min(vec_set1(89.0f), x);
    *n = vec_round(vec_mul(x, vec_set1(0x1.715476p+0f)));
    vec r = vec_fnma(*n, vec_set1(0x1.63p-1f), x); /* exact: ln 2 cut to 9 bits */
    r = vec_fnma(*n, vec_set1(-0x1.bd0106p-13f), r);
    vec q = vec_set1(0x1.6a241cp-10f);
    q = vec_fma(q, r, vec_set1(0x1.123a3cp-7f));
    q = vec_fma(q, r, vec_set1(0x1.5558f4p-5f));
    q = vec_fma(q, r, vec_set1(0x1.555490p-3f));
    q = vec_fma(q, r, vec_set1(0x1.fffffcp-2f));
    return vec_fma(vec_mul(r, r), q, r);
}

/* exp(x) within 1 unit in the last place or so. -inf gives 0, NaN NaN. */
VEC_INLINE vec vec_exp(vec x)
{
    vec n, p = vec_exp_reduced(x, &n);
    return vec_scale(vec_add(p, vec_set1(1.0f)), n);
}

/* tanh(x) = -m / (2 + m) with m = exp(-2|x|) - 1 = 2^n p + (2^n - 1), which keeps its digits where
 * x is small: n is 0 there. Within 4 units in the last place. */
VEC_INLINE vec vec_tanh(vec x)
{
    vec one = vec_set1(1.0f);
    vec n, p = vec_exp_reduced(vec_mul(vec_abs(x), vec_set1(-2.0f)), &n);
    vec power = vec_scale(one, n);
    vec m = vec_fma(power, p, vec_sub(power, one));
    return vec_copy_sign(vec_div(m, vec_add(vec_set1(2.0f), m)), x);
}

/* cap tanh(x / cap) */
VEC_INLINE vec vec_soft_cap(vec x, vec cap)
{
    return vec_mul(cap, vec_tanh(vec_div(x, cap)));
}

#endif
