/* Forward pass of GRU, LSTM and tanh RNN classifiers over texts of any lengths, without padding.
 *
 * Compiled once per processor variant (see vectors.h and compiler.py); exports forward_<variant>. Letters: see model.h.
 *
 * How it works. SLOTS texts are read side by side, one per row; a text that ends hands its row to the next one, so the
 * rows stay full whatever the lengths are. At every time step the product of the rows' states with the recurrent
 * weights is computed block by block (R rows x J groups of WIDTH units x all G gates), and the gates, the new state and
 * the poolings follow while the sums are still in registers. The weights are packed in the order they are read in and
 * stay in the second-level cache. The input half of layer 0 is not computed but looked up: it depends on the word only.
 *
 * A text's numbers do not depend on its row, its block or its neighbours: every sum runs over k in order, in one
 * register lane.
 */
#include <stdlib.h>

#include "model.h"
#include "vectors.h"

/* More would only push the states out of the first-level cache. */
#ifdef VARIANT_amx
#define SLOTS 16
#else
#define SLOTS 8
#endif
#define MAX_ROWS 8
#define MAX_GROUPS 4
#define MAX_GATES 4
/* Tokens whose states are kept at a time where a layer feeds another: bounds memory to about this times D * H * G. */
#define TOKENS_AT_A_TIME 4096

#define AT_MOST(x, limit) ((x) < (limit) ? (x) : (limit))
#define AT_LEAST(x, limit) ((x) > (limit) ? (x) : (limit))
#define GATES(cell) ((cell) == GRU ? 3 : (cell) == LSTM ? 4 : 1)
/* Rows and groups of a block: as many as there are registers for running sums. */
#ifdef VARIANT_amx
#define ROWS(gates) TILE_ROWS
#else
#define ROWS(gates) AT_MOST(SUMS / (gates), MAX_ROWS)
#endif
#define GROUPS(gates, rows) AT_LEAST(AT_MOST(SUMS / ((gates) * (rows)), MAX_GROUPS), 1)

/* One direction of one layer, and the texts it is reading. */
struct reader {
    const struct direction *weights;
    int64_t hidden, state_size, inputs;       /* H; S; K of the input product */
    float *h, *c, *sum, *peak;                /* [H/W][SLOTS][W]: state, LSTM cell, poolings (NULL where not wanted) */
    operand_t *now, *next;                    /* [SLOTS][S]: h as a factor, before and after this step */
    const input_t *input[SLOTS];              /* [G * H], gate order: input half of the token each row is reading */
    int64_t text[SLOTS], at[SLOTS], left[SLOTS]; /* which text, its current position, positions left after it */
};

struct rows {
    const operand_t *factors; /* [R][K] */
    int64_t k, stride;
    const operand_t *weights; /* [H/W][K][G][W] */
};

#ifdef VARIANT_amx
#include "tiles.h"
#endif

/* sums[j * G + g][r] += factors[r] . weights[group + j][.][g]: the whole cost of a forward pass. */
INLINE void multiply(const int G, const int R, const int J, vec sums[][MAX_ROWS], const struct rows *rows,
                     int64_t group) {
    const operand_t *weights = rows->weights + group * rows->k * G * WIDTH;
    const int64_t next_group = rows->k * G * WIDTH;
    for (int64_t k = 0; k < rows->k; k += K_STEP, weights += G * WIDTH * K_STEP) {
        vec b[MAX_GROUPS * MAX_GATES];
#pragma GCC unroll 4
        for (int j = 0; j < J; j++)
#pragma GCC unroll 4
            for (int g = 0; g < G; g++) b[j * G + g] = load_weights(weights + j * next_group + g * WIDTH * K_STEP);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const vec a = broadcast(rows->factors + r * rows->stride + k);
#pragma GCC unroll 16
            for (int i = 0; i < J * G; i++) sums[i][r] = dot(a, b[i], sums[i][r]);
        }
    }
}

/* The cell's equations (networks.py) for W units of one row: new state of finished sums. Scales: see squash. */
INLINE vec new_state(const int cell, vec sums[][MAX_ROWS], int r, const input_t *input, const float *h, float *c) {
    if (cell == RNN) return tanh_(sums[0][r]);
    if (cell == GRU) { /* r, z, n */
        const vec n = tanh_(fma_(squash(sums[0][r]), sums[2][r], load_input(input + 2 * WIDTH)));
        return fma_(squash(sums[1][r]), load(h) - n, n);
    }
    const vec kept = squash(sums[1][r]) * load(c); /* i, f, g, o */
    const vec cell_state = fma_(squash(sums[0][r]), tanh_(sums[2][r]), kept);
    store(c, cell_state);
    return squash(sums[3][r]) * tanh_(cell_state * 2.885390082f);
}

/* What the sum of a gate starts with. r multiplies U_n h + c_n, so a GRU's W_n x waits outside the sum. */
INLINE vec first_term(const int cell, const int g, const struct reader *reader, int64_t row, int64_t group) {
    if (cell == GRU && g == 2) return load(reader->weights->state_bias + group * WIDTH);
    return load_input(reader->input[row] + (group * GATES(cell) + g) * WIDTH);
}

/* Finished sums of one row and one group of units to its new state and poolings. */
INLINE void finish(const int cell, vec sums[][MAX_ROWS], int r, struct reader *reader, int64_t row, int64_t group) {
    const int64_t at = (group * SLOTS + row) * WIDTH;
    const input_t *input = reader->input[row] + group * GATES(cell) * WIDTH;
    const vec h = new_state(cell, sums, r, input, reader->h + at, reader->c + at);
    store(reader->h + at, h);
    store_operand(reader->next + row * reader->state_size + group * WIDTH, h);
    if (reader->sum) store(reader->sum + at, load(reader->sum + at) + h);
    if (reader->peak) store(reader->peak + at, max_(load(reader->peak + at), h));
}

/* One time step of R rows and J groups of units. */
INLINE void step_block(const int cell, const int R, const int J, struct reader *reader, int64_t row, int64_t group) {
    const int G = GATES(cell);
    vec sums[MAX_GROUPS * MAX_GATES][MAX_ROWS];
    const struct rows rows = {reader->now + row * reader->state_size, reader->state_size, reader->state_size,
                              reader->weights->recurrent};
#pragma GCC unroll 4
    for (int j = 0; j < J; j++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int g = 0; g < G; g++) sums[j * G + g][r] = first_term(cell, g, reader, row + r, group + j);
    multiply(G, R, J, sums, &rows, group);
#pragma GCC unroll 4
    for (int j = 0; j < J; j++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) finish(cell, sums + j * G, r, reader, row + r, group + j);
}

/* Input half of the gates for R tokens and J groups of units: factors [R][K] to [R][G * H], gate order. */
INLINE void project_block(const int cell, const int R, const int J, const struct rows *rows, const float *bias,
                          input_t *to, int64_t to_stride, int64_t group) {
    const int G = GATES(cell);
    vec sums[MAX_GROUPS * MAX_GATES][MAX_ROWS];
#pragma GCC unroll 16
    for (int i = 0; i < J * G; i++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) sums[i][r] = load(bias + (group * G + i) * WIDTH);
    multiply(G, R, J, sums, rows, group);
#pragma GCC unroll 16
    for (int i = 0; i < J * G; i++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) store_input(to + r * to_stride + (group * G + i) * WIDTH, sums[i][r]);
}

/* Runs BLOCK(R, J, group) over all groups of units, for a number of rows known only at run time. */
#define FOR_GROUPS(R, G, groups, BLOCK)                                                                                \
    do {                                                                                                               \
        int64_t group = 0;                                                                                             \
        for (; group + GROUPS(G, R) <= (groups); group += GROUPS(G, R)) BLOCK(R, GROUPS(G, R), group);                 \
        if (GROUPS(G, R) > 1)                                                                                          \
            for (; group < (groups); group++) BLOCK(R, 1, group);                                                      \
    } while (0)
#define CASE(R, G, groups, BLOCK)                                                                                      \
    case R:                                                                                                            \
        if (R <= ROWS(G)) FOR_GROUPS(R, G, groups, BLOCK);                                                             \
        break
#define FOR_ROWS(rows, G, groups, BLOCK)                                                                               \
    switch (rows) {                                                                                                    \
        CASE(1, G, groups, BLOCK);                                                                                     \
        CASE(2, G, groups, BLOCK);                                                                                     \
        CASE(3, G, groups, BLOCK);                                                                                     \
        CASE(4, G, groups, BLOCK);                                                                                     \
        CASE(5, G, groups, BLOCK);                                                                                     \
        CASE(6, G, groups, BLOCK);                                                                                     \
        CASE(7, G, groups, BLOCK);                                                                                     \
        CASE(8, G, groups, BLOCK);                                                                                     \
    }

#ifdef VARIANT_amx

/* One time step of the first `rows` rows. The next group's products are under way while this one's gates are computed. */
INLINE void step(const int cell, struct reader *reader, int64_t rows) {
    const int G = GATES(cell);
    const struct rows states = {reader->now, reader->state_size, reader->state_size, reader->weights->recurrent};
    float products[2][MAX_GATES][TILE_ROWS][WIDTH] __attribute__((aligned(64)));
    const int64_t groups = reader->hidden / WIDTH;
    use_rows(rows);
    multiply_tiles(G, &states, 0, products[0]);
    for (int64_t group = 0; group < groups; group++) {
        if (group + 1 < groups) multiply_tiles(G, &states, group + 1, products[(group + 1) & 1]);
        for (int64_t row = 0; row < rows; row++) {
            vec sums[MAX_GATES][MAX_ROWS];
#pragma GCC unroll 4
            for (int g = 0; g < G; g++)
                sums[g][0] = first_term(cell, g, reader, row, group) + load(products[group & 1][g][row]);
            finish(cell, sums, 0, reader, row, group);
        }
    }
}

/* Input half of the gates for `tokens` tokens: factors [tokens][K] to [tokens][G * H]. */
INLINE void project(const int cell, const struct reader *reader, const operand_t *factors, int64_t tokens,
                    input_t *to) {
    const int G = GATES(cell);
    const int64_t to_stride = reader->hidden * G;
    float products[MAX_GATES][TILE_ROWS][WIDTH] __attribute__((aligned(64)));
    for (int64_t token = 0; token < tokens; token += TILE_ROWS, to += TILE_ROWS * to_stride) {
        const struct rows rows = {factors + token * reader->inputs, reader->inputs, reader->inputs,
                                  reader->weights->input};
        const int64_t count = AT_MOST(tokens - token, TILE_ROWS);
        use_rows(count);
        for (int64_t group = 0; group < reader->hidden / WIDTH; group++) {
            multiply_tiles(G, &rows, group, products);
            for (int64_t row = 0; row < count; row++)
#pragma GCC unroll 4
                for (int g = 0; g < G; g++) {
                    const int64_t at = (group * G + g) * WIDTH;
                    store_input(to + row * to_stride + at,
                                load(products[g][row]) + load(reader->weights->input_bias + at));
                }
        }
    }
}

#else

/* One time step of the first `rows` rows, in blocks as even as possible: 9 rows are 5 + 4, not 8 + 1. */
INLINE void step(const int cell, struct reader *reader, int64_t rows) {
    const int64_t blocks = (rows + ROWS(GATES(cell)) - 1) / ROWS(GATES(cell));
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t row = rows * i / blocks;
#define STEP(R, J, group) step_block(cell, R, J, reader, row, group)
        FOR_ROWS(rows * (i + 1) / blocks - row, GATES(cell), reader->hidden / WIDTH, STEP)
    }
}

/* Input half of the gates for `tokens` tokens: factors [tokens][K] to [tokens][G * H]. */
INLINE void project(const int cell, const struct reader *reader, const operand_t *factors, int64_t tokens,
                    input_t *to) {
    const int64_t to_stride = reader->hidden * GATES(cell);
    for (int64_t token = 0; token < tokens; token += ROWS(GATES(cell))) {
        const struct rows rows = {factors + token * reader->inputs, reader->inputs, reader->inputs,
                                  reader->weights->input};
#define PROJECT(R, J, group)                                                                                           \
    project_block(cell, R, J, &rows, reader->weights->input_bias, to + token * to_stride, to_stride, group)
        FOR_ROWS(AT_MOST(tokens - token, ROWS(GATES(cell))), GATES(cell), reader->hidden / WIDTH, PROJECT)
    }
}

#endif

static void step_gru(struct reader *reader, int64_t rows) { step(GRU, reader, rows); }
static void step_lstm(struct reader *reader, int64_t rows) { step(LSTM, reader, rows); }
static void step_rnn(struct reader *reader, int64_t rows) { step(RNN, reader, rows); }

static void project_any(int cell, const struct reader *reader, const operand_t *factors, int64_t tokens, input_t *to) {
    if (cell == GRU) project(GRU, reader, factors, tokens, to);
    else if (cell == LSTM) project(LSTM, reader, factors, tokens, to);
    else project(RNN, reader, factors, tokens, to);
}

#include "texts.h"
