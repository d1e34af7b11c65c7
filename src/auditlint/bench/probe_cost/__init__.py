"""What linear probes cost beside the forward pass that they ride on: the arithmetic, and what the latency makes of it.

Nothing here needs torch but `reading`, which reads a model's size off an `nn.Module`.
"""
