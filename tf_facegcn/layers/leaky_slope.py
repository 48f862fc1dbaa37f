"""The slope of every leaky ReLU for negative inputs."""

# Not given in the paper. `encoder_widening` needs all layers to share it.
LEAKY_SLOPE = 0.1

# Leaky ReLU of x less that of -x, over x: of a value that is passed on as a
# pair of opposite sign, the difference over this is the value.
PAIR_GAIN = 1 + LEAKY_SLOPE
