"""Fields that make a tiny network as `lite`: the finest map is not used, the
last levels are interpolated."""

LIKE_LITE = {
    "aggregation_widths": (6, 8),
    "aggregation_rounds": 1,
    "decoder_growths": (4, 4),
    "decoder_convolutions": 1,
    "output_level": 1,
    "output_filters": (),
}
