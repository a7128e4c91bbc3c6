/* Forward pass of GRU, LSTM and tanh RNN classifiers over texts of any lengths, without padding.
 *
 * Compiled once per processor variant (see vectors.h and build.py); exports forward_<variant>. Letters: see model.h.
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
#define SLOTS 8
#define MAX_ROWS 8
#define MAX_GROUPS 4
#define MAX_GATES 4
/* Tokens whose states are kept at a time where a layer feeds another: bounds memory to about this times D * H * G. */
#define TOKENS_AT_A_TIME 4096

#define AT_MOST(x, limit) ((x) < (limit) ? (x) : (limit))
#define AT_LEAST(x, limit) ((x) > (limit) ? (x) : (limit))
#define GATES(cell) ((cell) == GRU ? 3 : (cell) == LSTM ? 4 : 1)
/* Rows and groups of a block: as many as there are registers for running sums. */
#define ROWS(gates) AT_MOST(SUMS / (gates), MAX_ROWS)
#define GROUPS(gates, rows) AT_LEAST(AT_MOST(SUMS / ((gates) * (rows)), MAX_GROUPS), 1)

/* One direction of one layer, and the texts it is reading. */
struct reader {
    const struct direction *weights;
    int64_t hidden, inputs;                   /* H; K of the input product */
    float *h, *c, *sum, *peak;                /* [H/W][SLOTS][W]: state, LSTM cell, poolings (NULL where not wanted) */
    operand_t *now, *next;                    /* [SLOTS][H]: h as a factor, before and after this step */
    const input_t *input[SLOTS];              /* [3H], gate order: input half of the token each row is reading */
    int64_t text[SLOTS], at[SLOTS], left[SLOTS]; /* which text, its current position, positions left after it */
};

struct rows {
    const operand_t *factors; /* [R][K] */
    int64_t k, stride;
    const operand_t *weights; /* [H/W][K][G][W] */
};

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

/* One time step of R rows and J groups of units. */
INLINE void step_block(const int cell, const int R, const int J, struct reader *reader, int64_t row, int64_t group) {
    const int G = GATES(cell);
    vec sums[MAX_GROUPS * MAX_GATES][MAX_ROWS];
    const struct rows rows = {reader->now + row * reader->hidden, reader->hidden, reader->hidden,
                              reader->weights->recurrent};
#pragma GCC unroll 4
    for (int j = 0; j < J; j++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
#pragma GCC unroll 4
            for (int g = 0; g < G; g++) /* r multiplies U_n h + c_n, so W_n x waits outside the sum */
                sums[j * G + g][r] = cell == GRU && g == 2
                                         ? load(reader->weights->state_bias + (group + j) * WIDTH)
                                         : load_input(reader->input[row + r] + ((group + j) * G + g) * WIDTH);
    multiply(G, R, J, sums, &rows, group);
#pragma GCC unroll 4
    for (int j = 0; j < J; j++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const int64_t at = ((group + j) * SLOTS + row + r) * WIDTH;
            const input_t *input = reader->input[row + r] + (group + j) * G * WIDTH;
            const vec h = new_state(cell, sums + j * G, r, input, reader->h + at, reader->c + at);
            store(reader->h + at, h);
            store_operand(reader->next + (row + r) * reader->hidden + (group + j) * WIDTH, h);
            if (reader->sum) store(reader->sum + at, load(reader->sum + at) + h);
            if (reader->peak) store(reader->peak + at, max_(load(reader->peak + at), h));
        }
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

static void step_gru(struct reader *reader, int64_t rows) { step(GRU, reader, rows); }
static void step_lstm(struct reader *reader, int64_t rows) { step(LSTM, reader, rows); }
static void step_rnn(struct reader *reader, int64_t rows) { step(RNN, reader, rows); }

static void project_any(int cell, const struct reader *reader, const operand_t *factors, int64_t tokens, input_t *to) {
    if (cell == GRU) project(GRU, reader, factors, tokens, to);
    else if (cell == LSTM) project(LSTM, reader, factors, tokens, to);
    else project(RNN, reader, factors, tokens, to);
}

#include "texts.h"
