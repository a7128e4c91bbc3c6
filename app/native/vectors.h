/* The few vector operations that differ between processors. Everything else is plain arithmetic on GCC's and Clang's
 * vector types.
 *
 *   WIDTH       floats in a register
 *   SUMS        registers that may hold running sums; the rest hold operands
 *   operand_t   type of a factor in a matrix product; K_STEP of them are multiplied and summed per lane and step
 *   input_t     type the input half of the gates is stored in
 *
 * Fused multiply-adds are written out, and the compiler is told to fuse nothing else (-ffp-contract=off): a text's
 * score must not change with the block it happens to be computed in.
 */
#ifndef SENTIMENT_VECTORS_H
#define SENTIMENT_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(VARIANT_amx) || defined(VARIANT_avx512bf16)
#define BFLOAT16
#endif

#if defined(BFLOAT16) || defined(VARIANT_avx512)
#define WIDTH 16
#define SUMS 24
#elif defined(VARIANT_avx2)
#define WIDTH 8
#define SUMS 12
#else
#define WIDTH 4
#define SUMS 12
#endif

#if defined(BFLOAT16) || defined(VARIANT_avx512) || defined(VARIANT_avx2)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef int32_t ivec __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t uvec __attribute__((vector_size(WIDTH * 4)));

#ifdef BFLOAT16
typedef uint16_t operand_t; /* bfloat16 */
typedef uint16_t input_t;   /* IEEE half: the same bytes as bfloat16, and three bits more of precision */
#define K_STEP 2
#else
typedef float operand_t;
typedef float input_t;
#define K_STEP 1
#endif

INLINE vec load(const float *from) {
    vec value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(float *to, vec value) { memcpy(to, &value, sizeof value); }

INLINE vec all(float value) { return value - (vec){0}; }

/* a * b + c with one rounding, where the processor can. */
INLINE vec fma_(vec a, vec b, vec c) {
#if WIDTH == 16
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif WIDTH == 8
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

INLINE vec min_(vec a, vec b) {
#if WIDTH == 16
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif WIDTH == 8
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    ivec less = a < b;
    return (vec)((less & (ivec)a) | (~less & (ivec)b));
#endif
}

INLINE vec max_(vec a, vec b) {
#if WIDTH == 16
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif WIDTH == 8
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return -min_(-a, -b);
#endif
}

#ifdef BFLOAT16

/* K_STEP neighbouring operands, the same in every lane. */
INLINE vec broadcast(const operand_t *from) {
    int32_t pair;
    memcpy(&pair, from, sizeof pair);
    return (vec)_mm512_set1_epi32(pair);
}

INLINE vec load_weights(const operand_t *from) { return (vec)_mm512_loadu_si512(from); }

INLINE vec dot(vec a, vec b, vec sum) { return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b); }

INLINE vec load_input(const input_t *from) { return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }

INLINE void store_input(input_t *to, vec value) {
    value = max_(min_(value, all(65504.0f)), all(-65504.0f));
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT));
}

INLINE void store_operand(operand_t *to, vec value) {
    __m256bh rounded = _mm512_cvtneps_pbh((__m512)value);
    memcpy(to, &rounded, sizeof rounded);
}

/* 1 / x within 2^-14 of it: finer than the bfloat16 (2^-9) its result is rounded to. */
INLINE vec reciprocal(vec x) { return (vec)_mm512_rcp14_ps((__m512)x); }

#else

INLINE vec broadcast(const operand_t *from) { return all(*from); }
INLINE vec load_weights(const operand_t *from) { return load(from); }
INLINE vec dot(vec a, vec b, vec sum) { return fma_(a, b, sum); }
INLINE vec load_input(const input_t *from) { return load(from); }
INLINE void store_input(input_t *to, vec value) { store(to, value); }
INLINE void store_operand(operand_t *to, vec value) { store(to, value); }
INLINE vec reciprocal(vec x) { return 1.0f / x; }

#endif

/* 2^x. Float32 needs x in [-60, 60]; bfloat16 takes any x, to 0 and to infinity, with a relative error of 7e-5. */
INLINE vec power_of_two(vec x) {
#ifdef BFLOAT16
    /* 2^floor(x) times a minimax polynomial on [0, 1): the processor splits x and scales by itself. */
    const vec f = (vec)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    vec p = fma_(all(0.0780245226f), f, all(0.2260671553f));
    p = fma_(p, f, all(0.6958335423f));
    p = fma_(p, f, all(0.9999252205f));
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)x);
#else
    /* 2^n 2^f: adding 1.5 * 2^23 rounds x to n and leaves n in the low bits, from where it is shifted into the exponent
     * of the polynomial (minimax on [-1/2, 1/2]; relative error 2e-9). */
    const float round = 12582912.0f;
    vec shifted = x + round;
    vec f = x - (shifted - round);
    vec p = fma_(all(1.534581243e-4f), f, all(1.339993090e-3f));
    p = fma_(p, f, all(9.618489072e-3f));
    p = fma_(p, f, all(5.550328642e-2f));
    p = fma_(p, f, all(2.402264625e-1f));
    p = fma_(p, f, all(6.931471825e-1f));
    p = fma_(p, f, all(1.0f));
    return (vec)((uvec)p + ((uvec)shifted << 23));
#endif
}

/* 1 / (1 + 2^x), the one function behind both activations: with weights scaled when they were packed,
 *   s(a) = 1 / (1 + 2^x) for x = -a log2(e),   tanh(a) = 1 - 2 / (1 + 2^x) for x = 2 a log2(e).
 */
INLINE vec squash(vec x) {
#ifndef BFLOAT16
    x = max_(min_(x, all(60.0f)), all(-60.0f));
#endif
    return reciprocal(power_of_two(x) + 1.0f);
}

INLINE vec tanh_(vec scaled) { return fma_(all(-2.0f), squash(scaled), all(1.0f)); }

#endif
