"""A short schedule that several experiments share: minutes on two cores."""

import dataclasses

from iin_jax.runs.settings import Experiment, FlowSettings, TrainSettings

# a flow behind a linear start, as large as suits images and dimensions
SUITED = FlowSettings(
    start="closed_form", num_blocks=0, hidden_dim=0, hidden_depth=1, sigma="auto"
)


def short(
    experiment: Experiment, *, base: int, network_steps: int, flow_steps: int = 0
) -> Experiment:
    """The same experiment with fewer steps of larger batches, and narrower networks.

    Shares of the steps (decay, the discriminator's start) stay, so they scale along.
    LPIPS and the distances of samples stand on SqueezeNet 1.1, at 64 pixels for these.

    Args:
      experiment: with its published schedule.
      base: channels after the first layer of autoencoder and discriminator.
      network_steps, flow_steps: steps of both trainings; 0 for the flow: as suits the
        number of images.
    """
    network = dataclasses.replace(
        experiment.network,
        perceptual="squeeze",
        base=base,
        discriminator_base=base,
        steps=network_steps,
        batch_size=64,
        rate_per_example=6e-4 / 64,
        warmup=0.05,
        squared=0.08,
    )
    train = TrainSettings(
        steps=flow_steps,
        batch_size=256,
        rate_per_example=0.0,
        warmup=0.03,
        decay_start=0.3,
    )
    evaluate = experiment.evaluate
    if evaluate.distance != "none":
        evaluate = dataclasses.replace(
            evaluate, distance="squeezenet1_1", distance_size=64
        )
    return dataclasses.replace(
        experiment,
        network=network,
        concept=dataclasses.replace(experiment.concept, estimator="shared_rank"),
        flow=SUITED,
        train=train,
        evaluate=evaluate,
    )
