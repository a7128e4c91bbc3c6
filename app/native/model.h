/* What the kernel computes with: a packed checkpoint. Filled by packing.py, declared to Python in binding.py.
 *
 * Shape legend: V vocabulary, E embedding, H hidden units of one direction, D directions, L layers, P poolings,
 * O outputs (classes and stars), G gates, W floats in one vector register. H is padded with zeros to a multiple of W.
 * "Gate order" is [H/W][G][W]: the G gates of W units lie together. What a product runs over, E or a direction's states,
 * is padded to a multiple of what the processor multiplies at a time: S is H padded so. Tiles need more than W there,
 * but no unit is computed for it: padded factors are zeros, and so are the weights of padded units and factors.
 */
#ifndef SENTIMENT_MODEL_H
#define SENTIMENT_MODEL_H

#include <stdint.h>

enum cell { RNN, LSTM, GRU };
enum pooling { LAST, MEAN, MAX };

struct direction {
    const void *table;         /* [V][G * H] input_t, gate order: input half of every word. Layer 0 only; may be NULL */
    const void *input;         /* [H/W][K][G][W] operand_t: input weights, where there is no table; K as below */
    const float *input_bias;   /* gate order, belongs to input */
    const void *recurrent;     /* [H/W][S][G][W] operand_t */
    const float *state_bias;   /* [H]: the GRU's c_n, the one bias that must stay inside r * (...); else unused */
};

struct model {
    int32_t cell, hidden, state_size, embedding_size, directions, layers, outputs; /* padded: H, S, E */
    int32_t poolings;          /* how many of the next */
    int32_t pooling[3];
    const void *embedding;     /* [V][E] operand_t, where layer 0 has no table */
    const struct direction *direction; /* [L][D] */
    const float *head;         /* [O][P][D][H] */
    const float *head_bias;    /* [O] */
};

#endif
