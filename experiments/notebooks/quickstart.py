# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # iin_jax in five minutes
#
# An invertible network translates a frozen network's latent into named factors: here
# the digit and the colour of real handwritten digits. Runs unchanged on CPU, GPU and
# TPU runtimes.

# %% [markdown]
# In Colab, put the address that you cloned or opened this repository from into
# `repository`; in a checkout that is installed, leave it empty.

# %%
import importlib.util
import os
import subprocess
import sys

repository = ""  # @param {type: "string"}

if importlib.util.find_spec("iin_jax") is None:
    if not repository:
        raise SystemExit("iin_jax is not installed: set `repository` to its address")
    source = f"git+{repository}"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", source])

# %%
import jax

print(jax.devices())

# %% [markdown]
# ## The main job
#
# Trains an autoencoder on 1,797 digits, estimates how many of its 32 latent dimensions
# encode digit and colour, trains the interpretation network, and judges its edits.
# Run the cell again after an interruption and it goes on where it was.

# %%
workdir = os.environ.get("IIN_JAX_WORKDIR", "runs/digits")
smoke = ["--smoke"] if os.environ.get("IIN_JAX_SMOKE") else []
command = ["-m", "iin_jax.runs", "digits", "--workdir", workdir, *smoke]
subprocess.run([sys.executable, *command], check=True)

# %% [markdown]
# Every column keeps its digit and handwriting, every row gives its colour.

# %%
from pathlib import Path

from IPython.display import Image

Image(Path(workdir) / "figures" / "swap_color.png")

# %%
Image(Path(workdir) / "figures" / "swap_digit.png")

# %% [markdown]
# ## Numbers beside the pictures
#
# Judged by models that never saw the flow, on held-out digits in new colours.

# %%
import json

card = json.loads((Path(workdir) / "scorecard.json").read_text())
{name: card[name] for name in ("sizes", "swap", "floor", "certificate")}

# %% [markdown]
# ## Edit images yourself

# %%
import iin_jax

interpreter = iin_jax.load(workdir)
digits = iin_jax.data.embedded_digits(16)
test = card["test_indices"]
painted = iin_jax.data.colored_set(
    digits.images, test, iin_jax.data.palette(64, seed=7), copies=1
)
a, b = painted.images(slice(0, 8)), painted.images(slice(8, 16))
edited = interpreter.swap(a, b, ["digit"])
path = interpreter.interpolate(a, b, ["color"], steps=5)
new = interpreter.sample(a, ["color"], jax.random.key(0), count=4)
print(edited.shape, path.shape, new.shape)

# %% [markdown]
# ## Your own arrays
#
# Latents of any network in any framework, as pairs: `shared` says which factors the two
# halves of a pair have in common.

# %%
import numpy as np

rng = np.random.default_rng(0)
concept = rng.standard_normal((2000, 2))
halves = [np.hstack([concept, rng.standard_normal((2000, 6))]) for _ in range(2)]
mixing = np.linalg.qr(rng.standard_normal((8, 8)))[0]
za, zb = (half @ mixing for half in halves)

layout = iin_jax.FactorLayout({"concept": 2, "residual": 6})
shared = np.tile([True, False], (2000, 1))
own = iin_jax.fit(za, zb, shared, layout, steps=50 if smoke else None, progress=False)
factors = own.to_factors(za)
print({name: part.shape for name, part in factors.items()})
