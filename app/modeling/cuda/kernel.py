"""One recurrent layer over tiles of texts, all time steps in one launch. In Triton, see its language reference.

Shape legend: B texts, S tokens of all of them, V vocabulary, H hidden units (padded to a power of two), N texts of one
tile, G gates, D directions, O outputs.

The recurrent weights of a layer this small fit into the shared memory of one multiprocessor. A program loads them
once and then reads its tile of texts token by token, so that states never leave the chip and nothing is launched
between two steps; what bounds it is the latency of one step. Persistent recurrent kernels: Diamos et al. 2016,
"Persistent RNNs: stashing recurrent weights on-chip". Texts come longest first, so that those of one tile are of like
length, and lie one behind the other: there is no padding but the steps after a text's end in its tile.

Hidden units are rows and texts are columns, because the number of texts may then be as small as 8.

Operands of products are float16, sums and states float32. The input half of the gates is not computed here: it comes
out of a table by token id, or was computed for all tokens of a layer at once.

A module for itself, because ``TRITON_INTERPRET=1`` at its import makes it run on the CPU.
"""

# Kernels have constants for arguments and no types but those.
# ruff: noqa: C901, E741, N803
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import triton
import triton.language as tl

PACKED_GATES = 4
"""Gates that lie side by side in 64 bits, so that one load brings all of a hidden unit's."""


@triton.jit
def _tanh(x):
    return 1.0 - 2.0 / (1.0 + tl.exp2(x * 2.8853900817779268))  # 2 log2(e)


@triton.jit
def _logistic(x):
    return 1.0 / (1.0 + tl.exp2(x * -1.4426950408889634))  # log2(e)


@triton.jit
def _gate(packed, GATE: tl.constexpr):
    """Float32 numbers of one gate out of 64 bits that hold four in float16."""
    return (packed >> (16 * GATE)).to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32)


@triton.jit
def _row(ids, first, step, length, t, LOOKUP: tl.constexpr):
    """Row (N,) of the inputs at time step ``t``; any row there is where a text has ended."""
    place = first + step * tl.minimum(t, tl.maximum(length - 1, 0))
    return tl.load(ids + place) if LOOKUP else place


@triton.jit
def _inputs(inputs, row, units, H: tl.constexpr):
    """Input half of all gates (H, N)."""
    return tl.load(inputs + row[None, :].to(tl.int64) * H + units[:, None])


@triton.jit(do_not_specialize=["texts", "input_rows"])
def read_texts(
    starts, ids, inputs, recurrent, state_bias, states, head, logits, texts, input_rows,
    CELL: tl.constexpr, H: tl.constexpr, N: tl.constexpr, D: tl.constexpr, O: tl.constexpr,
    LOOKUP: tl.constexpr, LAST: tl.constexpr,
):  # fmt: skip
    """Program (i, d) reads texts i * N to i * N + N - 1 in direction d.

    Args:
        starts: (B + 1,) int32, where each text starts among the tokens, and the end of the last; longest text first.
        ids: (S,) int32 token ids, read where LOOKUP.
        inputs: input half of the gates: (D, V, H) where LOOKUP, else (D, S, H), int64 of four float16 (three and
            nothing for a GRU), for a plain RNN float16.
        recurrent: (D, G, H, H) float16, rows are outputs.
        state_bias: (D, H) float32, a GRU's bias within the reset gate's product.
        states: (S, D * H) float16, written where not LAST.
        head: (D, O, 3, H) float32: weights of the last state, the mean and the maximum of the states.
        logits: (D, B, O) float32, each direction's part, written where LAST.
        texts: B.
        input_rows: V or S.
    """
    direction = tl.program_id(1)
    units = tl.arange(0, H)
    text = tl.program_id(0) * N + tl.arange(0, N)
    there = text < texts
    start = tl.load(starts + text, mask=there, other=0)
    end = tl.load(starts + text + 1, mask=there, other=0)
    length = end - start
    first = tl.where(there, tl.where(direction == 0, start, end - 1), 0)
    step = 1 - 2 * direction

    inputs += direction.to(tl.int64) * input_rows * H
    gates: tl.constexpr = 3 if CELL == "gru" else (4 if CELL == "lstm" else 1)
    weights = recurrent + direction * gates * H * H + units[:, None] * H + units[None, :]
    u_0 = tl.load(weights)
    if CELL != "rnn":
        u_1 = tl.load(weights + H * H)
        u_2 = tl.load(weights + 2 * H * H)
    if CELL == "lstm":
        u_3 = tl.load(weights + 3 * H * H)
    if CELL == "gru":
        bias = tl.load(state_bias + direction * H + units)[:, None]

    h = tl.zeros((H, N), tl.float32)
    if CELL == "lstm":
        c = tl.zeros((H, N), tl.float32)
    total = tl.zeros((H, N), tl.float32)
    highest = tl.full((H, N), -2.0, tl.float32)  # below every state
    # The inputs are loaded one step ahead, and where they are two, so that no step waits for memory.
    x = _inputs(inputs, _row(ids, first, step, length, 0, LOOKUP), units, H)
    row = _row(ids, first, step, length, 1, LOOKUP)
    for t in range(tl.max(length, 0)):
        x_next = _inputs(inputs, row, units, H)
        row = _row(ids, first, step, length, t + 2, LOOKUP)
        state = h.to(tl.float16)
        if CELL == "gru":
            r = _logistic(tl.dot(u_0, state, acc=_gate(x, 0)))
            z = _logistic(tl.dot(u_1, state, acc=_gate(x, 1)))
            n = _tanh(_gate(x, 2) + r * (tl.dot(u_2, state) + bias))
            new = n + z * (h - n)
        elif CELL == "lstm":
            i = _logistic(tl.dot(u_0, state, acc=_gate(x, 0)))
            f = _logistic(tl.dot(u_1, state, acc=_gate(x, 1)))
            g = _tanh(tl.dot(u_2, state, acc=_gate(x, 2)))
            o = _logistic(tl.dot(u_3, state, acc=_gate(x, 3)))
            c = f * c + i * g
            new = o * _tanh(c)
        else:
            new = _tanh(tl.dot(u_0, state, acc=x.to(tl.float32)))
        valid = (t < length)[None, :]
        h = tl.where(valid, new, h)
        if LAST:
            total += tl.where(valid, new, 0.0)
            highest = tl.maximum(highest, h)
        else:
            place = (first + step * t)[None, :].to(tl.int64)
            tl.store(states + place * (D * H) + direction * H + units[:, None], new.to(tl.float16), mask=valid)
        x = x_next
    if LAST:
        mean = total / tl.maximum(length, 1).to(tl.float32)[None, :]
        head += direction * O * 3 * H + units[:, None]
        for o in range(O):
            part = tl.load(head) * h + tl.load(head + H) * mean + tl.load(head + 2 * H) * highest
            tl.store(logits + (direction * texts + text) * O + o, tl.sum(part, 0), mask=there)
            head += 3 * H
