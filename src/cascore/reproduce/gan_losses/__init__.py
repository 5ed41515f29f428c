"""The GAN losses of the paper."""

from cascore.reproduce.gan_losses import page, values, work
from cascore.reproduce.study import Study

__all__ = ["STUDY"]

STUDY = Study("the GAN losses of the paper", work.units, page.page, values.claims)
