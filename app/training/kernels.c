/* Inner loops of training that neither PyTorch nor NumPy has in one pass. Compiled on the machine that trains, for its
 * own processor (kernels.py); plain loops that the compiler vectorizes.
 *
 * Letters: B texts of a batch, H hidden units, K dimensions of a document vector. `half` is bfloat16.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* Floats in the widest register; document vectors are a multiple. */
#define LANES 16
/* N-grams told apart from each one of a text. */
#define DRAWN 5

typedef uint16_t half;

static inline float widen(half value) {
    union { uint32_t bits; float number; } word = {(uint32_t)value << 16};
    return word.number;
}

/* To the nearest, ties to even. */
static inline half narrow(float value) {
    union { float number; uint32_t bits; } word = {value};
    return (half)((word.bits + 0x7fff + ((word.bits >> 16) & 1)) >> 16);
}

/* 1 / (1 + e^-x): e^-x = 2^n 2^f with a minimax polynomial on [-1/2, 1/2], relative error 2e-9. */
static inline float sigmoid(float x) {
    float y = x * -1.442695041f;
    y = y < 60.0f ? y : 60.0f;
    y = y > -60.0f ? y : -60.0f;
    const float whole = rintf(y), f = y - whole;
    float p = 1.534581243e-4f;
    p = p * f + 1.339993090e-3f;
    p = p * f + 9.618489072e-3f;
    p = p * f + 5.550328642e-2f;
    p = p * f + 2.402264625e-1f;
    p = p * f + 6.931471825e-1f;
    p = p * f + 1.0f;
    union { uint32_t bits; float number; } power = {(uint32_t)((int32_t)whole + 127) << 23};
    return 1.0f / (1.0f + p * power.number);
}

static inline float tangent(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

/* One step of a GRU (equations: networks.py), after the matrix product; texts that have ended stand still.
 *
 * input [B][3H]: W x + b, and b_h of r and z; product [B][3H]: U h; bias [H]: c_n; before, after [B][H]: the state.
 * kept [B][4H]: r, z, n, U_n h + c_n for the backward pass; operand [B][H]: the new state as a factor.
 */
EXPORT void gru_forward(int64_t texts, int64_t hidden, int64_t t, const int64_t *lengths, const half *restrict input,
                        const half *restrict product, const float *restrict bias, const float *restrict before,
                        float *restrict after, half *restrict operand, half *restrict kept, float *restrict last,
                        float *restrict sum, float *restrict peak, int32_t *restrict at) {
    for (int64_t b = 0; b < texts; b++, input += 3 * hidden, product += 3 * hidden, before += hidden, after += hidden,
                 operand += hidden, kept += 4 * hidden, last += hidden, sum += hidden, peak += hidden, at += hidden) {
        if (t >= lengths[b]) {
            for (int64_t i = 0; i < hidden; i++) after[i] = before[i], operand[i] = 0;
            continue;
        }
        for (int64_t i = 0; i < hidden; i++) {
            const float r = sigmoid(widen(input[i]) + widen(product[i]));
            const float z = sigmoid(widen(input[hidden + i]) + widen(product[hidden + i]));
            const float u = widen(product[2 * hidden + i]) + bias[i];
            const float n = tangent(widen(input[2 * hidden + i]) + r * u);
            const float h = n + z * (before[i] - n);
            after[i] = last[i] = h;
            sum[i] += h;
            at[i] = h > peak[i] ? (int32_t)t : at[i];
            peak[i] = h > peak[i] ? h : peak[i];
            operand[i] = narrow(h);
            kept[i] = narrow(r);
            kept[hidden + i] = narrow(z);
            kept[2 * hidden + i] = narrow(n);
            kept[3 * hidden + i] = narrow(u);
        }
    }
}

/* One step back. carry [B][H]: in, dL/dh from the steps behind without this one's product; out, what goes past the
 * product to the step before. last, sum, peak [B][H]: gradients of the poolings; product [B][H]: the later step's
 * gates times U; outer [B][H]: gradient of the state itself, or NULL. gates [B][3H]: dL/d(U h), of r, z, n; inputs [B][3H]: dL/d(W x).
 */
EXPORT void gru_backward(int64_t texts, int64_t hidden, int64_t t, const int64_t *lengths, const half *restrict product,
                         const float *restrict before, const half *restrict kept, const float *restrict last,
                         const float *restrict sum, const float *restrict peak, const int32_t *restrict at,
                         const float *restrict outer, float *restrict carry, half *restrict gates,
                         half *restrict inputs) {
    for (int64_t b = 0; b < texts; b++, product += hidden, before += hidden, kept += 4 * hidden, last += hidden,
                 sum += hidden, peak += hidden, at += hidden, carry += hidden, gates += 3 * hidden,
                 inputs += 3 * hidden) {
        if (t >= lengths[b]) {
            for (int64_t i = 0; i < 3 * hidden; i++) gates[i] = inputs[i] = 0;
            continue;
        }
        const float final = t == lengths[b] - 1;
        for (int64_t i = 0; i < hidden; i++) {
            const float r = widen(kept[i]), z = widen(kept[hidden + i]), n = widen(kept[2 * hidden + i]);
            const float u = widen(kept[3 * hidden + i]);
            float dh = carry[i] + widen(product[i]) + final * last[i] + sum[i];
            dh += outer ? outer[b * hidden + i] : 0.0f;
            dh += at[i] == (int32_t)t ? peak[i] : 0.0f;
            const float dn = dh * (1.0f - z) * (1.0f - n * n);
            const float dz = dh * (before[i] - n) * z * (1.0f - z);
            const float dr = dn * u * r * (1.0f - r);
            carry[i] = dh * z;
            inputs[i] = gates[i] = narrow(dr);
            inputs[hidden + i] = gates[hidden + i] = narrow(dz);
            inputs[2 * hidden + i] = narrow(dn);
            gates[2 * hidden + i] = narrow(dn * r);
        }
    }
}

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline lanes load(const float *from) {
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store(float *to, lanes value) { memcpy(to, &value, sizeof value); }

static inline float sum(lanes value) {
    float part[LANES];
    store(part, value);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

/* xorshift64 (Marsaglia 2003). */
static inline uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* One gradient step on ln s(scale cos(d, w)), or, where the n-gram is not the text's, on ln s(-scale cos(d, w)). */
static inline void attract(int64_t size, float *restrict d, float *restrict w, float target, float rate, float scale) {
    lanes dws = {0}, dds = {0}, wws = {0};
    for (int64_t k = 0; k < size; k += LANES) {
        const lanes x = load(d + k), y = load(w + k);
        dws += x * y, dds += x * x, wws += y * y;
    }
    const float dw = sum(dws), dd = sum(dds), ww = sum(wws);
    const float length = 1.0f / sqrtf(dd * ww), cosine = dw * length;
    const float slope = rate * scale * (target - sigmoid(scale * cosine));
    const float across = slope * length, stay = slope * cosine;
    const float along_d = stay / dd, along_w = stay / ww;
    for (int64_t k = 0; k < size; k += LANES) {
        const lanes x = load(d + k), y = load(w + k);
        store(d + k, x + across * y - along_d * x);
        store(w + k, y + across * x - along_w * y);
    }
}

/* One pass over texts: document vectors trained by cosine similarity (documents.py).
 *
 * order [texts]: the texts to visit; starts, grams: n-grams of text d are grams[starts[d]] to grams[starts[d + 1] - 1];
 * documents, words: vectors [..][size], size a multiple of LANES; table [mask + 1]: n-grams by how often one is drawn
 * to be told apart from the text's; grams is shuffled within each text; rate: falls linearly from rate[0] to rate[1].
 */
EXPORT void document_pass(int64_t texts, const int32_t *order, const int64_t *starts, int32_t *grams,
                          float *documents, float *words, int64_t size, const int32_t *table, uint64_t mask,
                          const float *rate, float scale, uint64_t seed) {
    for (int64_t n = 0; n < texts; n++) {
        float *document = documents + order[n] * size;
        const float now = rate[0] + (rate[1] - rate[0]) * (float)n / (float)texts;
        const int64_t first = starts[order[n]], end = starts[order[n] + 1];
        for (int64_t at = end - 1; at > first; at--) { /* the last ones leave the deepest trace: others each time */
            const int64_t other = first + (int64_t)(draw(&seed) % (uint64_t)(at - first + 1));
            const int32_t gram = grams[at];
            grams[at] = grams[other], grams[other] = gram;
        }
        int64_t turn[2][1 + DRAWN]; /* the n-gram at hand and those drawn against it; next, the same on their way */
        for (int64_t at = first - 1; at < end; at++) {
            int64_t *here = turn[at & 1], *next = turn[~at & 1];
            if (at + 1 < end)
                for (int i = 0; i <= DRAWN; i++) {
                    next[i] = i ? table[draw(&seed) & mask] : grams[at + 1];
                    for (int64_t k = 0; k < size; k += LANES) __builtin_prefetch(words + next[i] * size + k, 1);
                }
            if (at < first) continue;
            for (int i = 0; i <= DRAWN; i++)
                if (!i || here[i] != here[0]) attract(size, document, words + here[i] * size, !i, now, scale);
        }
    }
}
