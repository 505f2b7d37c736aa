"""Does localization inform editing? The study of Hase et al. (https://arxiv.org/abs/2301.04213) for any model."""
