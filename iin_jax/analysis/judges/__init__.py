"""Outside judges: they read attributes from edited images, logits or latents."""

from iin_jax.analysis.judges.base import Judge, JudgeTest, ReadingJudge
from iin_jax.analysis.judges.convolutional import ConvolutionalJudge, shape_judge
from iin_jax.analysis.judges.latents import LatentJudge, LogitsJudge
from iin_jax.analysis.judges.pictures import ColorJudge, ShapeJudge, brightness

__all__ = [
    "ColorJudge",
    "ConvolutionalJudge",
    "Judge",
    "JudgeTest",
    "LatentJudge",
    "LogitsJudge",
    "ReadingJudge",
    "ShapeJudge",
    "brightness",
    "shape_judge",
]
