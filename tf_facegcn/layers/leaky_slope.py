"""The slope of every leaky ReLU for negative inputs."""

# Not given in the paper. `encoder_widening` needs all layers to share it.
LEAKY_SLOPE = 0.1
