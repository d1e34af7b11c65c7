"""The arithmetic of linear probes, for one token of one sequence. `formulas.js` is the same in the page's language.

All of it is in floating-point numbers, whatever is passed in, and in the order that JavaScript computes it in: both
give the same bits. Sources of the formulas:

- A forward pass takes 2 FLOPs (a multiplication and an addition) for each parameter at work: Kaplan et al., Scaling
  Laws for Neural Language Models, 2020, section 2.1, which counts parameters without embeddings. Here, as in Mitra,
  Activation probe cost, 2026, all count. Attention to the context comes on top, and makes a probe's share smaller.
- A readout is a dot product of d numbers, 2d FLOPs. In decoding, each parameter at work is read from memory once a
  token, and so is each probe's weight: Mitra.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Load(NamedTuple):
    """What is computed for a token.

    `params` are the parameters at work for a token (of a mixture of experts, without the experts that rest), `d_model`
    the width of the hidden state, `layers` the number of blocks. `probes` are read at one layer, or at each of them.
    The sizes are bytes for each number of the model's weights, of the probes' weights and of the hidden states.
    """

    params: float
    d_model: float
    layers: float
    probes: float
    every_layer: bool
    weight_size: float
    probe_size: float
    state_size: float


class Figures(NamedTuple):
    """What one token costs.

    Overheads are in percent of the forward pass, `*_flops` in FLOPs and `*_bytes` in bytes, all for a token of one
    sequence. `layers_read` are the layers that have probes, `readouts` all probes on them.

    `orders` is the decimal logarithm of the forward pass over the readouts, both in FLOPs. `packed_state_bytes` are
    the hidden states that are read where each layer's probes are one matrix, `single_state_bytes` where each probe
    reads for itself; `export_bytes` are the readouts, in the probes' dtype. None of these are in `bytes_overhead`,
    which holds the probes' weights against the model's.

    `floor` is the larger of the two overheads: what no implementation can be expected to stay below, whether
    arithmetic or memory is what the device is short of.
    """

    layers_read: float
    readouts: float
    forward_flops: float
    readout_flops: float
    arithmetic_overhead: float
    orders: float
    model_bytes: float
    probe_bytes: float
    bytes_overhead: float
    packed_state_bytes: float
    single_state_bytes: float
    export_bytes: float
    floor: float


def figures(load: Load) -> Figures:
    """Return what a token costs under `load`, whose numbers are all greater than 0."""
    params, width = float(load.params), float(load.d_model)
    layers_read = float(load.layers) if load.every_layer else 1.0
    readouts = load.probes * layers_read
    model_bytes = params * load.weight_size
    probe_bytes = readouts * width * load.probe_size
    arithmetic = 100.0 * readouts * width / params
    memory = 100.0 * probe_bytes / model_bytes
    return Figures(
        layers_read=layers_read,
        readouts=readouts,
        forward_flops=2.0 * params,
        readout_flops=2.0 * readouts * width,
        arithmetic_overhead=arithmetic,
        orders=math.log10(params / (readouts * width)),
        model_bytes=model_bytes,
        probe_bytes=probe_bytes,
        bytes_overhead=memory,
        packed_state_bytes=layers_read * width * load.state_size,
        single_state_bytes=readouts * width * load.state_size,
        export_bytes=readouts * load.probe_size,
        floor=max(arithmetic, memory),
    )


def throughput_loss(latency: float) -> float:
    """Return what a latency overhead takes off the tokens per second, both in percent: 300 % longer is 75 % fewer."""
    return 100.0 * latency / (100.0 + latency)


def latency_overhead(loss: float) -> float:
    """Return by how many percent a token takes longer where `loss` percent (below 100) of the tokens per second go."""
    return 100.0 * loss / (100.0 - loss)
