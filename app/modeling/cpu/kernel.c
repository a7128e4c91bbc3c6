/* One direction of one recurrent layer over a batch of texts: the hot loop of the service on a CPU.
 *
 * What makes it fast:
 * - The input half of the arithmetic is a table look-up: row i of `table` is the projection of word i (or, in deeper
 *   layers, of position i), biases included.
 * - Texts are taken in tiles of up to ROWS, longest first. A tile steps through time together and narrows as texts end,
 *   so padding is never computed.
 * - For each block of LANES hidden units all gates of all rows are accumulated in registers and turned into the new
 *   state there; per time step the recurrent weights stream once from the second-level cache.
 *
 * A row's arithmetic does not depend on the rows beside it, so a text has bit for bit the same scores in any batch.
 *
 * Compiled several times from this one file, for what the CPU has: see build.py. With BFLOAT16 the operands of the
 * recurrent product are bfloat16, accumulated in float32 (vdpbf16ps), and table rows are half precision; states and
 * gates are float32 always. The equations are in networks.py.
 *
 * Legend: H hidden units, padded to a multiple of LANES; G gates (GRU r z n, LSTM i f g o, RNN one).
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define ROWS 8
#elif defined(__AVX2__)
#define LANES 8
#define ROWS 4
#else
#define LANES 4
#define ROWS 4
#endif

#define MAX_HIDDEN 2048
#define PITCH (MAX_HIDDEN + 48) /* rows a multiple of 4 KiB apart would compete for the same cache sets */
#define MAX_GATES 4
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8") /* only then do compilers keep arrays of accumulators in registers */

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef float unaligned_vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

INLINE vec load(const float *from) { return *(const unaligned_vec *)from; }
INLINE void store(float *to, vec value) { *(unaligned_vec *)to = value; }
INLINE vec splat(float value) { return (vec){0} + value; }

#ifdef BFLOAT16
#include <immintrin.h>
typedef uint16_t entry;  /* table: IEEE half precision */
typedef uint16_t weight; /* weights: bfloat16, in pairs of consecutive hidden units */
#define PER_STEP 2       /* hidden units consumed by one multiply-accumulate */
INLINE vec load_entry(const entry *from) { return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
INLINE vec multiply_add(vec sum, const weight *w, const weight *operand) {
    int32_t pair;
    memcpy(&pair, operand, sizeof pair);
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_loadu_si512(w), (__m512bh)_mm512_set1_epi32(pair));
}
INLINE void store_operand(weight *to, vec value) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
#else
typedef float entry;
typedef float weight;
#define PER_STEP 1
INLINE vec load_entry(const entry *from) { return load(from); }
INLINE vec multiply_add(vec sum, const weight *w, const weight *operand) { return load(w) * *operand + sum; }
INLINE void store_operand(weight *to, vec value) { store(to, value); }
#endif

INLINE vec select_vec(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }

/* exp(x) for x in [-87, 87]: 2^n times a polynomial on [-ln2/2, ln2/2] (Cephes' coefficients), relative error 2e-7. */
INLINE vec exponential(vec x) {
    x = select_vec(x > 87.0f, splat(87.0f), select_vec(x < -87.0f, splat(-87.0f), x));
    const vec magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to the nearest whole number */
    vec n = (x * 1.44269504088896341f + magic) - magic;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (vec)((ivec)p + (__builtin_convertvector(n, ivec) << 23));
}

INLINE vec sigmoid(vec x) { return 1.0f / (1.0f + exponential(-x)); }
INLINE vec hyperbolic_tangent(vec x) { return 1.0f - 2.0f / (1.0f + exponential(x + x)); }

enum cell { GRU = 0, LSTM = 1, RNN = 2 };

/* What a tile carries from step to step. Rows beyond the running ones hold rubbish that nobody reads. */
typedef struct {
    float h[2][ROWS][PITCH];
    weight operand[2][ROWS][PITCH];
    float c[ROWS][PITCH];
    float sum[ROWS][PITCH];
    float max[ROWS][PITCH];
} tile;

/* One time step of `rows` texts. `now` is the half of the double-buffered state that is read. */
INLINE void step(const enum cell cell, const int gates, const int rows, const int hidden, const weight *restrict weights,
                 const float *restrict inner_bias, const entry *const *restrict inputs, tile *restrict s, const int now) {
    for (int unit = 0; unit < hidden; unit += LANES) {
        vec acc[ROWS][MAX_GATES];
        UNROLL for (int row = 0; row < rows; row++)
            UNROLL for (int gate = 0; gate < gates; gate++) acc[row][gate] = splat(0.0f);
        for (int k = 0; k < hidden; k += PER_STEP) {
            UNROLL for (int row = 0; row < rows; row++)
                UNROLL for (int gate = 0; gate < gates; gate++)
                    acc[row][gate] =
                        multiply_add(acc[row][gate], weights + gate * LANES * PER_STEP, &s->operand[now][row][k]);
            weights += gates * LANES * PER_STEP;
        }
        UNROLL for (int row = 0; row < rows; row++) {
            const entry *x = inputs[row] + unit;
            vec old = load(&s->h[now][row][unit]), fresh;
            if (cell == GRU) {
                vec r = sigmoid(load_entry(x) + acc[row][0]);
                vec z = sigmoid(load_entry(x + hidden) + acc[row][1]);
                vec n = hyperbolic_tangent(load_entry(x + 2 * hidden) + r * (acc[row][2] + load(inner_bias + unit)));
                fresh = n + z * (old - n);
            } else if (cell == LSTM) {
                vec i = sigmoid(load_entry(x) + acc[row][0]);
                vec f = sigmoid(load_entry(x + hidden) + acc[row][1]);
                vec g = hyperbolic_tangent(load_entry(x + 2 * hidden) + acc[row][2]);
                vec o = sigmoid(load_entry(x + 3 * hidden) + acc[row][3]);
                vec c = f * load(&s->c[row][unit]) + i * g;
                store(&s->c[row][unit], c);
                fresh = o * hyperbolic_tangent(c);
            } else {
                fresh = hyperbolic_tangent(load_entry(x) + acc[row][0]);
            }
            store(&s->h[!now][row][unit], fresh);
            store_operand(&s->operand[!now][row][unit], fresh);
            store(&s->sum[row][unit], load(&s->sum[row][unit]) + fresh);
            vec most = load(&s->max[row][unit]);
            store(&s->max[row][unit], select_vec(fresh > most, fresh, most));
        }
    }
}

/* Constant numbers of gates and rows let the compiler keep all accumulators in registers. */
#define STEP(CELL, GATES, COUNT)                                                                                       \
    static void step_##CELL##_##COUNT(int hidden, const weight *weights, const float *inner_bias,                      \
                                      const entry *const *inputs, tile *s, int now) {                                  \
        step(CELL, GATES, COUNT, hidden, weights, inner_bias, inputs, s, now);                                         \
    }
#if ROWS == 8
STEP(GRU, 3, 1) STEP(GRU, 3, 2) STEP(GRU, 3, 4) STEP(GRU, 3, 8)
STEP(LSTM, 4, 1) STEP(LSTM, 4, 2) STEP(LSTM, 4, 4) STEP(LSTM, 4, 6)
STEP(RNN, 1, 1) STEP(RNN, 1, 2) STEP(RNN, 1, 4) STEP(RNN, 1, 8)
#define WIDEST_LSTM step_LSTM_6
#define WIDEST_GRU step_GRU_8
#define WIDEST_RNN step_RNN_8
#else
STEP(GRU, 3, 1) STEP(GRU, 3, 2) STEP(GRU, 3, 4)
STEP(LSTM, 4, 1) STEP(LSTM, 4, 2) STEP(LSTM, 4, 4)
STEP(RNN, 1, 1) STEP(RNN, 1, 2) STEP(RNN, 1, 4)
#define WIDEST_LSTM step_LSTM_4
#define WIDEST_GRU step_GRU_4
#define WIDEST_RNN step_RNN_4
#endif

typedef void step_function(int, const weight *, const float *, const entry *const *, tile *, int);

static const struct {
    int gates, rows;
    step_function *by_rows[4]; /* for 1, 2, 3 to 4, and more running rows */
} cells[] = {
    [GRU] = {3, ROWS, {step_GRU_1, step_GRU_2, step_GRU_4, WIDEST_GRU}},
    [LSTM] = {4, ROWS == 8 ? 6 : ROWS, {step_LSTM_1, step_LSTM_2, step_LSTM_4, WIDEST_LSTM}},
    [RNN] = {1, ROWS, {step_RNN_1, step_RNN_2, step_RNN_4, WIDEST_RNN}},
};

/* Results of one direction of a layer; each may be NULL. */
typedef struct {
    float *states; /* (all tokens, stride): state at every position */
    float *last;   /* (texts, stride): state after the last token read */
    float *sum;    /* (texts, stride) */
    float *max;    /* (texts, stride) */
} outputs;

static void copy_row(float *to, long row, long stride, const float *from, int units) {
    if (to) memcpy(to + row * stride, from, (size_t)units * sizeof(float));
}

static void run_tile(int cell, int hidden, int units, long stride, const entry *table, const weight *weights,
                     const float *inner_bias, const int32_t *tokens, const int64_t *starts, const int32_t *lengths,
                     long first, int rows, int backward, const outputs *out, tile *s) {
    const int gates = cells[cell].gates;
    for (int row = 0; row < ROWS; row++) {
        size_t bytes = (size_t)hidden * sizeof(float);
        memset(s->h[0][row], 0, bytes);
        memset(s->operand[0][row], 0, (size_t)hidden * sizeof(weight));
        memset(s->c[row], 0, bytes);
        memset(s->sum[row], 0, bytes);
        for (int unit = 0; unit < hidden; unit++) s->max[row][unit] = -2.0f; /* below every state */
    }
    const entry *inputs[ROWS], *next[ROWS];
    for (int row = 0; row < ROWS; row++) {
        long text = first + (row < rows ? row : 0);
        next[row] = table + (int64_t)tokens[starts[text] + (backward ? lengths[text] - 1 : 0)] * gates * hidden;
    }
    int running = rows, now = 0;
    for (int t = 0; running; t++, now = !now) {
        memcpy(inputs, next, sizeof inputs);
        for (int row = 0; row < running; row++) {
            long text = first + row;
            if (t + 1 >= lengths[text]) continue;
            next[row] = table + (int64_t)tokens[starts[text] + (backward ? lengths[text] - 2 - t : t + 1)] * gates * hidden;
            /* Words come in no order a prefetcher could guess. */
            for (size_t byte = 0; byte < (size_t)(gates * hidden) * sizeof(entry); byte += 64)
                __builtin_prefetch((const char *)next[row] + byte);
        }
        step_function *advance = cells[cell].by_rows[running > 4 ? 3 : running > 2 ? 2 : running - 1];
        advance(hidden, weights, inner_bias, inputs, s, now);
        for (int row = 0; row < running; row++) {
            long text = first + row;
            copy_row(out->states, starts[text] + (backward ? lengths[text] - 1 - t : t), stride, s->h[!now][row], units);
        }
        while (running && t + 1 == lengths[first + running - 1]) {
            int row = --running;
            copy_row(out->last, first + row, stride, s->h[!now][row], units);
            copy_row(out->sum, first + row, stride, s->sum[row], units);
            copy_row(out->max, first + row, stride, s->max[row], units);
        }
    }
}

/* Sizes the caller must know to pack weights: lanes, hidden units per multiply-accumulate, bytes of scratch. */
void kernel_sizes(int32_t *lanes, int32_t *per_step, int64_t *scratch, int32_t *max_hidden) {
    *lanes = LANES;
    *per_step = PER_STEP;
    *scratch = (int64_t)sizeof(tile);
    *max_hidden = MAX_HIDDEN;
}

/* Runs one direction of one layer over texts sorted by length, longest first.
 *
 * hidden: units, padded; units: without padding, which is what results hold. table: (rows, G * hidden). weights: (hidden
 * / LANES, hidden / PER_STEP, G, LANES, PER_STEP). inner_bias: (hidden), the GRU's bias inside r * (...). tokens: table
 * rows of all texts; text i has lengths[i] of them from starts[i]. stride: floats from one result row to the next.
 * scratch: kernel_sizes bytes, 64-byte aligned. Thread-safe on distinct scratch and results. */
void kernel_run(int32_t cell, int32_t hidden, int32_t units, int64_t stride, const void *table, const void *weights,
                const float *inner_bias, const int32_t *tokens, const int64_t *starts, const int32_t *lengths,
                int64_t texts, int32_t backward, float *states, float *last, float *sum, float *max, void *scratch) {
    const outputs out = {states, last, sum, max};
    const int rows = cells[cell].rows;
    for (int64_t first = 0; first < texts; first += rows) {
        int count = texts - first < rows ? (int)(texts - first) : rows;
        run_tile(cell, hidden, units, stride, table, weights, inner_bias, tokens, starts, lengths, first, count, backward,
                 &out, scratch);
    }
}
