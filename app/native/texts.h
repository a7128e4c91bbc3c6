/* Second half of forward.c: which text is read in which row, and what becomes of its states. */

#define FEATURES(model) ((int64_t)(model)->poolings * (model)->directions * (model)->hidden)

/* A group of texts on its way through the layers. Text i is tokens starts[i] to starts[i + 1] of ids. */
struct texts {
    const int32_t *ids;
    const int64_t *starts;
    int64_t first, end; /* the texts of this group */
};

/* Row `row` starts to read a text, from its end where the direction is backward. */
static void begin_text(struct reader *reader, int64_t row, const struct texts *texts, int64_t text, int backward) {
    reader->text[row] = text;
    reader->at[row] = backward ? texts->starts[text + 1] - 1 : texts->starts[text];
    reader->left[row] = texts->starts[text + 1] - texts->starts[text] - 1;
    for (int64_t group = 0; group < reader->hidden / WIDTH; group++) {
        const int64_t at = (group * SLOTS + row) * WIDTH;
        store(reader->h + at, all(0.0f));
        store(reader->c + at, all(0.0f));
        if (reader->sum) store(reader->sum + at, all(0.0f));
        if (reader->peak) store(reader->peak + at, all(-2.0f)); /* below every state: |h| <= 1 */
    }
    memset(reader->now + row * reader->state_size, 0, reader->state_size * sizeof(operand_t));
}

/* What row `from` is reading goes on in row `to`. */
static void move_row(struct reader *reader, int64_t to, int64_t from) {
    reader->text[to] = reader->text[from];
    reader->at[to] = reader->at[from];
    reader->left[to] = reader->left[from];
    float *arrays[] = {reader->h, reader->c, reader->sum, reader->peak};
    for (int i = 0; i < 4; i++)
        for (int64_t group = 0; arrays[i] && group < reader->hidden / WIDTH; group++)
            store(arrays[i] + (group * SLOTS + to) * WIDTH, load(arrays[i] + (group * SLOTS + from) * WIDTH));
    memmove(reader->now + to * reader->state_size, reader->now + from * reader->state_size,
            reader->state_size * sizeof(operand_t));
}

/* Poolings of a text that has been read: features [P][D][H], this direction's part. */
static void write_features(const struct reader *reader, int64_t row, const struct model *model, int64_t tokens,
                           int direction, float *features) {
    for (int p = 0; p < model->poolings; p++) {
        float *to = features + (p * model->directions + direction) * reader->hidden;
        for (int64_t group = 0; group < reader->hidden / WIDTH; group++) {
            const int64_t at = (group * SLOTS + row) * WIDTH;
            vec value = load((model->pooling[p] == LAST   ? reader->h
                              : model->pooling[p] == MEAN ? reader->sum
                                                          : reader->peak) +
                             at);
            store(to + group * WIDTH, model->pooling[p] == MEAN ? value / (float)tokens : value);
        }
    }
}

/* Input half of the token at a position, wherever it comes from. */
static const input_t *input_of(const struct reader *reader, const struct texts *texts, const input_t *projected,
                               int64_t at, int64_t width) {
    if (projected) return projected + (at - texts->starts[texts->first]) * width;
    return (const input_t *)reader->weights->table + texts->ids[at] * width;
}

/* Read all texts of a group in one direction.
 *
 * projected: [tokens][G * H], or NULL where a table is.
 * states: [tokens][D * S], every state for the next layer; NULL in the last one.
 * features: [texts of the batch][P][D][H], written where states is NULL.
 */
static void read_texts(struct reader *reader, const struct model *model, const struct texts *texts, int direction,
                       const input_t *projected, operand_t *states, float *features) {
    const int64_t size = reader->state_size, base = texts->starts[texts->first], move = direction ? -1 : 1;
    const int64_t width = reader->hidden * GATES(model->cell), feature_size = FEATURES(model);
    const int64_t slots = SLOTS - SLOTS % ROWS(GATES(model->cell)); /* only full blocks */
    int64_t rows = 0, text = texts->first;
    while (rows < slots && text < texts->end) begin_text(reader, rows++, texts, text++, direction);
    while (rows) {
        for (int64_t row = 0; row < rows; row++) {
            reader->input[row] = input_of(reader, texts, projected, reader->at[row], width);
            if (reader->left[row]) { /* fetch the next one early: a row of a large table is seldom near */
                const char *soon = (const char *)input_of(reader, texts, projected, reader->at[row] + move, width);
                for (size_t i = 0; i < width * sizeof(input_t); i += 64) __builtin_prefetch(soon + i);
            }
        }
        (model->cell == GRU ? step_gru : model->cell == LSTM ? step_lstm : step_rnn)(reader, rows);
        operand_t *before = reader->now;
        reader->now = reader->next;
        reader->next = before;
        for (int64_t row = rows - 1; row >= 0; row--) {
            const int64_t done = reader->text[row];
            if (states)
                memcpy(states + ((reader->at[row] - base) * model->directions + direction) * size,
                       reader->now + row * size, size * sizeof(operand_t));
            reader->at[row] += move;
            if (reader->left[row]--) continue;
            if (!states)
                write_features(reader, row, model, texts->starts[done + 1] - texts->starts[done], direction,
                               features + done * feature_size);
            if (text < texts->end) begin_text(reader, row, texts, text++, direction);
            else if (--rows != row) move_row(reader, row, rows);
        }
    }
}

/* Where the numbers of a call live; one allocation. */
struct workspace {
    struct reader reader;
    float *sum, *peak;    /* the reader's, while it reads the last layer */
    float *features;      /* [texts][P][D][H] */
    operand_t *states[2]; /* [tokens][max(E, D * S)]: a layer's input, its output */
    input_t *projected;   /* [tokens][G * H] */
};

/* The next `bytes` of the workspace at `memory`, of which `used` are given away; NULL memory only counts. */
static void *carve(char *memory, int64_t *used, int64_t bytes) {
    void *piece = memory ? memory + *used : NULL;
    *used += (bytes + 63) & ~(int64_t)63;
    return piece;
}

/* Divides `memory` (NULL: nothing yet) among all arrays; returns how many bytes that takes. */
static int64_t lay_out(struct workspace *space, const struct model *model, int64_t texts, int64_t tokens,
                       char *memory) {
    const int64_t cells = (int64_t)SLOTS * model->hidden, factors = (int64_t)SLOTS * model->state_size;
    const int64_t wide = AT_LEAST(model->embedding_size, model->directions * model->state_size);
    struct reader *reader = &space->reader;
    int64_t used = 0;
    reader->hidden = model->hidden;
    reader->state_size = model->state_size;
    reader->h = carve(memory, &used, cells * sizeof(float));
    reader->c = carve(memory, &used, cells * sizeof(float));
    space->sum = carve(memory, &used, cells * sizeof(float));
    space->peak = carve(memory, &used, cells * sizeof(float));
    reader->now = carve(memory, &used, factors * sizeof(operand_t));
    reader->next = carve(memory, &used, factors * sizeof(operand_t));
    space->features = carve(memory, &used, texts * FEATURES(model) * sizeof(float));
    space->states[0] = carve(memory, &used, tokens * wide * sizeof(operand_t));
    space->states[1] = carve(memory, &used, tokens * wide * sizeof(operand_t));
    space->projected = carve(memory, &used, tokens * model->hidden * GATES(model->cell) * sizeof(input_t));
    return used;
}

static int pools(const struct model *model, int pooling) {
    for (int p = 0; p < model->poolings; p++)
        if (model->pooling[p] == pooling) return 1;
    return 0;
}

static void read_layers(struct workspace *space, const struct model *model, const struct texts *texts) {
    struct reader *reader = &space->reader;
    const int64_t base = texts->starts[texts->first], tokens = texts->starts[texts->end] - base;
    if (!model->direction[0].table)
        for (int64_t i = 0; i < tokens; i++)
            memcpy(space->states[0] + i * model->embedding_size,
                   (const operand_t *)model->embedding + (int64_t)texts->ids[base + i] * model->embedding_size,
                   model->embedding_size * sizeof(operand_t));
    for (int layer = 0; layer < model->layers; layer++) {
        const int last = layer == model->layers - 1;
        const operand_t *below = space->states[layer & 1];
        reader->inputs = layer ? model->directions * model->state_size : model->embedding_size;
        reader->sum = last && pools(model, MEAN) ? space->sum : NULL;
        reader->peak = last && pools(model, MAX) ? space->peak : NULL;
        for (int direction = 0; direction < model->directions; direction++) {
            reader->weights = &model->direction[layer * model->directions + direction];
            const int looked_up = reader->weights->table != NULL;
            if (!looked_up) project_any(model->cell, reader, below, tokens, space->projected);
            read_texts(reader, model, texts, direction, looked_up ? NULL : space->projected,
                       last ? NULL : space->states[(layer + 1) & 1], space->features);
        }
    }
}

/* Linear outputs of one text: features [F] to logits [O]; W partial sums, added in order. */
static void head(const struct model *model, const float *features, float *logits) {
    const int64_t size = FEATURES(model);
    for (int32_t o = 0; o < model->outputs; o++) {
        vec sums = all(0.0f);
        for (int64_t i = 0; i < size; i += WIDTH)
            sums = fma_(load(features + i), load(model->head + o * size + i), sums);
        float logit = model->head_bias[o];
        for (int lane = 0; lane < WIDTH; lane++) logit += sums[lane];
        logits[o] = logit;
    }
}

#define NAME_(variant) forward_##variant
#define NAME(variant) NAME_(variant)

/* Logits [texts][O] of texts with ids in [0, V) and at least one token each; longest first is fastest.
 *
 * Text i is ids[starts[i]] to ids[starts[i + 1] - 1]. Reads the model, writes nothing but logits: any number of calls
 * may run at once. Returns 0, or 1 where there is no memory.
 */
__attribute__((visibility("default"))) int NAME(VARIANT)(const struct model *model, int64_t texts, const int32_t *ids,
                                                        const int64_t *starts, float *logits) {
    const int kept = model->layers > 1 || !model->direction[0].table;
    int64_t most = 0; /* tokens of the largest group of texts whose states are kept together */
    for (int64_t i = 0; kept && i < texts; i++) most = AT_LEAST(most, starts[i + 1] - starts[i]);
    if (kept) most = AT_LEAST(most, AT_MOST(starts[texts], TOKENS_AT_A_TIME));
    struct workspace space;
    char *memory = aligned_alloc(64, lay_out(&space, model, texts, most, NULL));
    if (!memory) return 1;
    lay_out(&space, model, texts, most, memory);
    /* Steps write H of S factors; the rest stay zeros. */
    memset(space.reader.next, 0, SLOTS * space.reader.state_size * sizeof(operand_t));
    memset(space.reader.now, 0, SLOTS * space.reader.state_size * sizeof(operand_t));
    for (struct texts group = {ids, starts, 0, 0}; group.first < texts; group.first = group.end) {
        group.end = kept ? group.first + 1 : texts;
        while (group.end < texts && starts[group.end + 1] - starts[group.first] <= most) group.end++;
        read_layers(&space, model, &group);
    }
    for (int64_t i = 0; i < texts; i++) head(model, space.features + i * FEATURES(model), logits + i * model->outputs);
    free(memory);
    return 0;
}

#ifdef SOURCES /* what the library was built from; compiler.py looks for it */
__attribute__((visibility("default"))) const char kernel_sources[] = "SOURCES=" SOURCES;
#endif
